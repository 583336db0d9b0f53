package main

import (
	"context"
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// The engine asks for no schema to run a program: this is for the CLI.
const schema = `{"name": "` + packageName + `", "version": "` + packageVersion + `"}`

// kind is one type of resource. The provider deals with what all have in
// common; inputs are known and checked when the verbs get them.
type kind interface {
	check(inputs property.Map) []p.CheckFailure
	// computed names the outputs that are no inputs.
	computed() []string
	// create and update give back the outputs that are no inputs.
	create(ctx context.Context, inputs property.Map) (property.Map, error)
	update(ctx context.Context, state, inputs property.Map) (property.Map, error)
	delete(ctx context.Context, state property.Map) error
}

var kinds = map[string]kind{
	"command:local:Command":       commandKind{runner: localRunner},
	"command:remote:Command":      remoteKind{"remote.Command"},
	"command:remote:CopyToRemote": remoteKind{"remote.CopyToRemote"},
	"command:remote:CopyFile":     remoteKind{"remote.CopyFile"},
}

func kindOf(urn resource.URN) (kind, error) {
	k, ok := kinds[string(urn.Type())]
	if !ok {
		return nil, fmt.Errorf("%s is not supported by this provider of pulumi-command", urn.Type())
	}
	return k, nil
}

func newProvider(l *life) p.Provider {
	provider := p.Provider{
		GetSchema: func(context.Context, p.GetSchemaRequest) (p.GetSchemaResponse, error) {
			return p.GetSchemaResponse{Schema: schema}, nil
		},
		Cancel: func(context.Context) error {
			l.end(errCancelled)
			return nil
		},
		CheckConfig: func(_ context.Context, r p.CheckRequest) (p.CheckResponse, error) {
			return p.CheckResponse{Inputs: r.Inputs}, nil
		},
		DiffConfig: func(context.Context, p.DiffRequest) (p.DiffResponse, error) {
			return p.DiffResponse{}, nil
		},
		Check: check,
		Diff: func(_ context.Context, r p.DiffRequest) (p.DiffResponse, error) {
			return diff(r.OldInputs, r.Inputs), nil
		},
		// There is nothing to read a command back from.
		Read: func(_ context.Context, r p.ReadRequest) (p.ReadResponse, error) {
			return p.ReadResponse{ID: r.ID, Properties: r.Properties, Inputs: r.Inputs}, nil
		},
	}
	provider.Create = func(ctx context.Context, r p.CreateRequest) (p.CreateResponse, error) {
		ctx, done := l.operation(ctx, r.Timeout)
		defer done()
		return create(ctx, r)
	}
	provider.Update = func(ctx context.Context, r p.UpdateRequest) (p.UpdateResponse, error) {
		ctx, done := l.operation(ctx, r.Timeout)
		defer done()
		return update(ctx, r)
	}
	provider.Delete = func(ctx context.Context, r p.DeleteRequest) error {
		ctx, done := l.operation(ctx, r.Timeout)
		defer done()
		k, err := kindOf(r.Urn)
		if err != nil {
			return err
		}
		return k.delete(ctx, r.Properties)
	}
	provider.Invoke = func(ctx context.Context, r p.InvokeRequest) (p.InvokeResponse, error) {
		ctx, done := l.operation(ctx, 0)
		defer done()
		return invoke(ctx, r)
	}
	return provider
}
