module litelab/tools/pause

go 1.26
