// What `-modfile` needs beside main.go. Each minor's requirements are in <minor>.mod and .sum, which pin.sh writes.
module litelab/tools/kubernetes

go 1.26
