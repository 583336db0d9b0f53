package main

import (
	"slices"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// diff compares old inputs with new ones: every change is an update, one in
// the triggers a replacement.
func diff(olds, news property.Map) p.DiffResponse {
	changes := map[string]p.PropertyDiff{}
	for name, old := range olds.All {
		compare(changes, resource.PropertyPath{name}, old, news.Get(name))
	}
	for name, value := range news.All {
		if _, known := olds.GetOk(name); !known {
			compare(changes, resource.PropertyPath{name}, property.Value{}, value)
		}
	}
	return p.DiffResponse{HasChanges: len(changes) > 0, DetailedDiff: changes}
}

func compare(changes map[string]p.PropertyDiff, path resource.PropertyPath, old, value property.Value) {
	switch {
	case old.IsNull() && value.IsNull():
	case old.IsNull():
		note(changes, path, p.Add)
	case value.IsNull():
		note(changes, path, p.Delete)
	case value.IsComputed():
		note(changes, path, p.Update)
	case !old.Secret() && value.Secret():
		// Without an update the old plain text would stay in the state.
		note(changes, path, p.Update)
	case old.IsMap() && value.IsMap():
		compareMaps(changes, path, old.AsMap(), value.AsMap())
	case old.IsArray() && value.IsArray():
		compareArrays(changes, path, old.AsArray(), value.AsArray())
	default:
		if !plain(old).Equals(plain(value)) {
			note(changes, path, p.Update)
		}
	}
}

// plain drops what is no part of a value's content.
func plain(v property.Value) property.Value {
	return v.WithSecret(false).WithDependencies(nil)
}

func compareMaps(changes map[string]p.PropertyDiff, path resource.PropertyPath, old, value property.Map) {
	for key, item := range old.All {
		compare(changes, child(path, key), item, value.Get(key))
	}
	for key, item := range value.All {
		if _, known := old.GetOk(key); !known {
			compare(changes, child(path, key), property.Value{}, item)
		}
	}
}

func compareArrays(changes map[string]p.PropertyDiff, path resource.PropertyPath, old, value property.Array) {
	at := func(a property.Array, i int) property.Value {
		if i < a.Len() {
			return a.Get(i)
		}
		return property.Value{}
	}
	for i := range max(old.Len(), value.Len()) {
		compare(changes, child(path, i), at(old, i), at(value, i))
	}
}

// child copies the path: siblings must not share its memory.
func child(path resource.PropertyPath, segment any) resource.PropertyPath {
	return append(slices.Clone(path), segment)
}

var replacing = map[p.DiffKind]p.DiffKind{
	p.Add:    p.AddReplace,
	p.Delete: p.DeleteReplace,
	p.Update: p.UpdateReplace,
}

func note(changes map[string]p.PropertyDiff, path resource.PropertyPath, kind p.DiffKind) {
	if path[0] == "triggers" {
		kind = replacing[kind]
	}
	changes[path.String()] = p.PropertyDiff{Kind: kind, InputDiff: true}
}
