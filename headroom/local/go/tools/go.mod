module headroom.dev/local/tools

go 1.25.0
