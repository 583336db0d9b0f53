// Command etcd is the unmodified etcd server: its own main package is not served as a module, its library is.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
