// Command pulumi-resource-command is a Pulumi provider that serves the
// pulumi-command SDK: local and remote commands and copies to remote hosts.
package main

import (
	"context"
	"fmt"
	"os"

	p "github.com/pulumi/pulumi-go-provider"
)

const (
	packageName = "command"
	// The version of the SDK that we serve: the engine compares the two.
	packageVersion = "1.2.1"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(packageVersion)
		return
	}
	serving, stopServing := context.WithCancel(context.Background())
	defer stopServing()
	life := newLife()
	go life.guard(stopServing)
	if err := p.RunProvider(serving, packageName, packageVersion, newProvider(life)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
