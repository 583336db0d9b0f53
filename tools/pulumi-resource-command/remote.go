package main

import (
	"context"
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// remoteKind refuses remote.Command and remote.CopyToRemote by name. A stack
// that still has one whose end does nothing can be rid of it.
type remoteKind struct{ name string }

func (k remoteKind) refusal() string {
	return fmt.Sprintf("%s is not served: this provider of pulumi-command runs commands on the engine's own "+
		"machine alone, so let a local.Command run ssh", k.name)
}

func (k remoteKind) check(property.Map) []p.CheckFailure {
	return []p.CheckFailure{{Property: "connection", Reason: k.refusal()}}
}

func (remoteKind) computed() []string { return nil }

func (k remoteKind) create(context.Context, property.Map) (property.Map, error) {
	return property.Map{}, fmt.Errorf("%s", k.refusal())
}

func (k remoteKind) update(context.Context, property.Map, property.Map) (property.Map, error) {
	return property.Map{}, fmt.Errorf("%s", k.refusal())
}

func (k remoteKind) delete(_ context.Context, state property.Map) error {
	if state.Get("delete").IsNull() {
		return nil
	}
	return fmt.Errorf("%s. Destroy the stack with the version that made it", k.refusal())
}
