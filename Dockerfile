# A static binary and nothing else. Build: docker build -t icecore .
# Run: docker run -p 8365:8365 -p 4317:4317 -p 4318:4318 -v icecore-data:/data icecore
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# glibc is linked in: the binary needs no loader and no library where it runs. The target is named so that the flag
# does not reach build scripts and procedural macros, which must stay dynamic.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN target="$(rustc --print host-tuple)" \
 && cargo build --release --locked --target "$target" \
 && mkdir -p /image/data \
 && cp "target/$target/release/icecore" /image/icecore

FROM scratch
COPY --from=build --chown=65532:65532 /image /
# A number, since there is no /etc/passwd to look a name up in.
USER 65532:65532
VOLUME /data
# Query and write APIs; OTLP over gRPC; OTLP over HTTP.
EXPOSE 8365 4317 4318
# Every option has a variable, so that a flag given to `docker run` still wins. All interfaces are the container's own;
# --insecure-no-auth says that whoever reaches a published port is not asked for a password.
ENV ICECORE_DATA_DIR=/data \
    ICECORE_LISTEN=0.0.0.0:8365 \
    ICECORE_OTLP_GRPC=0.0.0.0:4317 \
    ICECORE_OTLP_HTTP=0.0.0.0:4318 \
    ICECORE_INSECURE_NO_AUTH=on
ENTRYPOINT ["/icecore"]
