package main

import (
	"context"
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
)

// invoke serves the function local.run.
func invoke(ctx context.Context, r p.InvokeRequest) (p.InvokeResponse, error) {
	if r.Token != "command:local:run" {
		return p.InvokeResponse{}, fmt.Errorf("%s is not supported by this provider of pulumi-command", r.Token)
	}
	k := commandKind{runner: localRunner}
	c, d := k.decode(r.Args)
	script := d.optionalText("command")
	if script == nil {
		d.fail("command", "is missing")
	}
	if len(*d.failures) > 0 {
		return p.InvokeResponse{Failures: *d.failures}, nil
	}
	printed, err := localRunner(ctx, "run", *script, c, outputs{})
	if err != nil {
		return p.InvokeResponse{}, err
	}
	return p.InvokeResponse{Return: merged(r.Args, printed.properties())}, nil
}
