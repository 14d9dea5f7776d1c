# Makes an image's root of a Debian 13 root with PostgreSQL 17 and PostGIS: laid out as
# docker.io/postgis/postgis:17-3.5 is (postgres is 999:999, locale en_US.utf8), and half as large.
set -eu

localedef -i en_US -f UTF-8 en_US.UTF-8

# Debian's package gives postgres the next free ids, and makes a cluster that nobody asked for.
rm -rf /var/lib/postgresql/* /etc/postgresql/*
uid=$(id -u postgres) gid=$(id -g postgres)
groupmod -g 999 postgres
usermod -u 999 -g 999 postgres
find / -xdev -uid "$uid" -exec chown -h 999 {} +
find / -xdev -gid "$gid" -exec chgrp -h 999 {} +
install -d -m 1777 -o 999 -g 999 /var/lib/postgresql/data
install -d -m 2775 -o 999 -g 999 /run/postgresql

# psql and its like in /usr/bin are Perl wrappers; the real ones come first in PATH.
for wrapper in /usr/bin/*; do
    if [ "$(readlink "$wrapper")" = ../share/postgresql-common/pg_wrapper ]; then rm "$wrapper"; fi
done
rm -rf /usr/share/doc/* /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/i18n \
    /usr/share/perl* /usr/lib/*/perl* /usr/lib/*/libLLVM* /usr/lib/llvm* \
    /usr/lib/postgresql/17/lib/bitcode /usr/lib/postgresql/17/lib/llvmjit*.so \
    /var/cache/apt/* /var/lib/apt/lists/* /var/log/* /tmp/* /run/adduser
