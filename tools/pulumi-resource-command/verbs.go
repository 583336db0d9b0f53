package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

func check(_ context.Context, r p.CheckRequest) (p.CheckResponse, error) {
	k, err := kindOf(r.Urn)
	if err != nil {
		return p.CheckResponse{}, err
	}
	return p.CheckResponse{Inputs: r.Inputs, Failures: k.check(r.Inputs)}, nil
}

func create(ctx context.Context, r p.CreateRequest) (p.CreateResponse, error) {
	k, err := kindOf(r.Urn)
	if err != nil {
		return p.CreateResponse{}, err
	}
	if r.DryRun {
		return p.CreateResponse{Properties: foreseen(k, r.Properties)}, nil
	}
	computed, err := k.create(ctx, r.Properties)
	if err != nil {
		return p.CreateResponse{}, err
	}
	return p.CreateResponse{ID: newID(r.Urn.Name()), Properties: merged(r.Properties, computed)}, nil
}

func update(ctx context.Context, r p.UpdateRequest) (p.UpdateResponse, error) {
	k, err := kindOf(r.Urn)
	if err != nil {
		return p.UpdateResponse{}, err
	}
	if r.DryRun {
		return p.UpdateResponse{Properties: foreseen(k, r.Inputs)}, nil
	}
	computed, err := k.update(ctx, r.State, r.Inputs)
	if err != nil {
		return p.UpdateResponse{}, err
	}
	return p.UpdateResponse{Properties: merged(r.Inputs, computed)}, nil
}

// foreseen are the outputs as a preview knows them.
func foreseen(k kind, inputs property.Map) property.Map {
	for _, name := range k.computed() {
		inputs = inputs.Set(name, property.New(property.Computed))
	}
	return inputs
}

func merged(inputs, computed property.Map) property.Map {
	for name, value := range computed.All {
		inputs = inputs.Set(name, value)
	}
	return inputs
}

func newID(name string) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	return name + hex.EncodeToString(random[:])
}
