package main

import (
	"context"
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// copyKind is remote.CopyToRemote. A delete leaves the copy where it is.
type copyKind struct{}

func (copyKind) check(inputs property.Map) []p.CheckFailure {
	_, _, d := decodeCopy(inputs)
	return *d.failures
}

func (copyKind) computed() []string { return nil }

func (copyKind) create(ctx context.Context, inputs property.Map) (property.Map, error) {
	what, to, d := decodeCopy(inputs)
	if err := d.err(); err != nil {
		return property.Map{}, err
	}
	if err := copyTo(ctx, to, what); err != nil {
		return property.Map{}, fmt.Errorf("copying to %s: %w", what.path, err)
	}
	return property.Map{}, nil
}

func (k copyKind) update(ctx context.Context, _, inputs property.Map) (property.Map, error) {
	return k.create(ctx, inputs)
}

func (copyKind) delete(context.Context, property.Map) error { return nil }

// copySource is a local file or folder, or a text; path is where it goes.
type copySource struct {
	local string
	text  *string
	path  string
}

func decodeCopy(inputs property.Map) (copySource, connection, decoder) {
	d := newDecoder(inputs)
	to := decodeConnection(d)
	what := copySource{path: d.text("remotePath")}
	if what.path == "" && !d.unknown("remotePath") {
		d.fail("remotePath", "is missing")
	}
	v := inputs.Get("source")
	switch {
	case v.IsComputed():
	case v.IsAsset() && v.AsAsset().IsPath():
		what.local = v.AsAsset().Path
	case v.IsAsset() && v.AsAsset().IsText():
		text := v.AsAsset().Text
		what.text = &text
	case v.IsArchive() && v.AsArchive().IsPath():
		what.local = v.AsArchive().Path
	default:
		d.fail("source", "must be a FileAsset, a StringAsset or a FileArchive")
	}
	return what, to, d
}
