package main

import (
	"maps"
	"testing"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

func list(texts ...string) property.Value {
	var items []property.Value
	for _, text := range texts {
		items = append(items, property.New(text))
	}
	return property.New(items)
}

func TestDiff(t *testing.T) {
	text := property.New("x")
	tests := map[string]struct {
		old, new property.Value
		field    string
		want     map[string]p.DiffKind
	}{
		"same":             {text, text, "create", nil},
		"changed":          {text, property.New("y"), "create", map[string]p.DiffKind{"create": p.Update}},
		"added":            {property.Value{}, text, "stdin", map[string]p.DiffKind{"stdin": p.Add}},
		"removed":          {text, property.Value{}, "stdin", map[string]p.DiffKind{"stdin": p.Delete}},
		"became secret":    {text, text.WithSecret(true), "stdin", map[string]p.DiffKind{"stdin": p.Update}},
		"no longer secret": {text.WithSecret(true), text, "stdin", nil},
		"unknown": {
			text, property.New(property.Computed), "stdin", map[string]p.DiffKind{"stdin": p.Update},
		},
		"trigger": {
			list("a", "b"), list("a", "c"), "triggers",
			map[string]p.DiffKind{"triggers[1]": p.UpdateReplace},
		},
		"new triggers": {
			property.Value{}, list("a"), "triggers", map[string]p.DiffKind{"triggers": p.AddReplace},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inputs := func(v property.Value) property.Map {
				if v.IsNull() {
					return property.Map{}
				}
				return property.NewMap(map[string]property.Value{test.field: v})
			}
			got := map[string]p.DiffKind{}
			for path, change := range diff(inputs(test.old), inputs(test.new)).DetailedDiff {
				got[path] = change.Kind
			}
			if !maps.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
