package main

import (
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// decoder reads inputs out of a property map and collects what is wrong with
// them. Secrets read like plain values; a value unknown in a preview reads as
// absent and is never a fault.
type decoder struct {
	fields   property.Map
	path     string // of fields, with its dot
	failures *[]p.CheckFailure
}

func newDecoder(fields property.Map) decoder {
	return decoder{fields: fields, failures: new([]p.CheckFailure)}
}

func (d decoder) fail(name, format string, args ...any) {
	failure := p.CheckFailure{Property: d.path + name, Reason: fmt.Sprintf(format, args...)}
	*d.failures = append(*d.failures, failure)
}

// err is for where there is no list of check failures to give back.
func (d decoder) err() error {
	if len(*d.failures) == 0 {
		return nil
	}
	first := (*d.failures)[0]
	return fmt.Errorf("%s: %s", first.Property, first.Reason)
}

func (d decoder) unknown(name string) bool { return d.fields.Get(name).IsComputed() }

func (d decoder) get(name string) (property.Value, bool) {
	v := d.fields.Get(name)
	return v, !v.IsNull() && !v.IsComputed()
}

func (d decoder) optionalText(name string) *string {
	v, ok := d.get(name)
	if !ok {
		return nil
	}
	if !v.IsString() {
		d.fail(name, "must be a string")
		return nil
	}
	text := v.AsString()
	return &text
}

func (d decoder) text(name string) string {
	if text := d.optionalText(name); text != nil {
		return *text
	}
	return ""
}

func (d decoder) flag(name string, otherwise bool) bool {
	v, ok := d.get(name)
	if !ok {
		return otherwise
	}
	if !v.IsBool() {
		d.fail(name, "must be true or false")
		return otherwise
	}
	return v.AsBool()
}

func (d decoder) whole(name string, otherwise int) int {
	v, ok := d.get(name)
	if !ok {
		return otherwise
	}
	if !v.IsNumber() || v.AsNumber() != float64(int(v.AsNumber())) {
		d.fail(name, "must be a whole number")
		return otherwise
	}
	return int(v.AsNumber())
}

func (d decoder) texts(name string) []string {
	v, ok := d.get(name)
	if !ok {
		return nil
	}
	if !v.IsArray() {
		d.fail(name, "must be a list of strings")
		return nil
	}
	var texts []string
	for i, item := range v.AsArray().All {
		switch {
		case item.IsString():
			texts = append(texts, item.AsString())
		case !item.IsComputed():
			d.fail(fmt.Sprintf("%s[%d]", name, i), "must be a string")
		}
	}
	return texts
}

func (d decoder) textMap(name string) map[string]string {
	v, ok := d.get(name)
	if !ok {
		return nil
	}
	if !v.IsMap() {
		d.fail(name, "must be a map of strings")
		return nil
	}
	texts := make(map[string]string, v.AsMap().Len())
	for key, item := range v.AsMap().All {
		switch {
		case item.IsString():
			texts[key] = item.AsString()
		case !item.IsComputed():
			d.fail(name+"."+key, "must be a string")
		}
	}
	return texts
}

func (d decoder) object(name string) (decoder, bool) {
	v, ok := d.get(name)
	if !ok {
		return decoder{}, false
	}
	if !v.IsMap() {
		d.fail(name, "must be an object")
		return decoder{}, false
	}
	return decoder{fields: v.AsMap(), path: d.path + name + ".", failures: d.failures}, true
}
