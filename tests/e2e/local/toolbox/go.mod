module headroom.dev/tests/toolbox

go 1.25.0
