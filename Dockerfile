# The image of operator, agent and restic for those who have Docker; `make image` makes the same without it.
# Pin the two bases by digest where you build for production.

FROM docker.io/library/golang:1.26-trixie AS restic
WORKDIR /restic
COPY src/agent/restic/go.mod src/agent/restic/go.sum ./
RUN CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w" \
    -o restic github.com/restic/restic/cmd/restic

FROM docker.io/library/rust:1.95-trixie AS programs
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
# The workspace has a second member, which is not needed here: cargo only wants to see the targets that its manifest names.
COPY e2e/Cargo.toml e2e/Cargo.toml
RUN mkdir -p e2e/src e2e/tests/stories && touch e2e/src/lib.rs e2e/tests/stories/main.rs
# Static: the agent runs inside the images of others. The flag must not reach procedural macros, hence the named target.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && flags=CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_RUSTFLAGS \
    && env "$flags=-C target-feature=+crt-static" \
       cargo build --locked --release --target "$target" --package dhis2-operator --bins \
    && mkdir -p /image/usr/local/bin && mkdir -m 1777 /image/tmp \
    && cp "target/$target/release/dhis2-operator" "target/$target/release/dhis2-agent" /image/usr/local/bin/
COPY --from=restic /restic/restic /image/usr/local/bin/restic

FROM scratch
COPY --from=programs /image/ /
ENV PATH=/usr/local/bin
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/dhis2-operator"]
