package main

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

const someKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsN8KJ3YbLr4Hk5T3Uo2S0yN3Vq0Qb9Zp3zq1m7dW5C"

func connectionWith(fields map[string]property.Value) property.Map {
	fields["host"] = property.New("example.org")
	return property.NewMap(map[string]property.Value{"connection": property.New(fields).WithSecret(true)})
}

func TestConnectionNeedsAHostKey(t *testing.T) {
	tests := map[string]struct {
		fields map[string]property.Value
		want   string // the first failure, or nothing
	}{
		"none":    {map[string]property.Value{}, "connection.hostKey: is missing"},
		"given":   {map[string]property.Value{"hostKey": property.New(someKey)}, ""},
		"unknown": {map[string]property.Value{"hostKey": property.New(property.Computed)}, ""},
		"no key":  {map[string]property.Value{"hostKey": property.New("SHA256:abc")}, "connection.hostKey: is no public key"},
		"proxy without": {
			map[string]property.Value{
				"hostKey": property.New(someKey),
				"proxy":   property.New(map[string]property.Value{"host": property.New("bastion")}),
			},
			"connection.proxy.hostKey: is missing",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDecoder(connectionWith(test.fields))
			decodeConnection(d)
			err := d.err()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v", err)
			case test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)):
				t.Errorf("got %v, want %s ...", err, test.want)
			}
		})
	}
}
