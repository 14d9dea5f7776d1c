module dhis2.hosting/e2e/cluster/lego

go 1.26.0

// The ACME library of Traefik, fetched and verified here: the build trims a copy of it.
require github.com/go-acme/lego/v5 v5.4.1
