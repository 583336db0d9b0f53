package main

import (
	"context"
	"slices"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// command is what local.Command takes.
type command struct {
	create, update, delete *string

	stdin       *string
	logging     string
	environment map[string]string
	previousEnv bool

	interpreter []string
	dir         string
}

// runner runs one script; verb is for messages.
type runner func(ctx context.Context, verb, script string, c command, previous outputs) (outputs, error)

// commandKind is local.Command.
type commandKind struct {
	runner runner
}

func (k commandKind) decode(inputs property.Map) (command, decoder) {
	d := newDecoder(inputs)
	c := command{
		create:      d.optionalText("create"),
		update:      d.optionalText("update"),
		delete:      d.optionalText("delete"),
		stdin:       d.optionalText("stdin"),
		logging:     d.text("logging"),
		environment: d.textMap("environment"),
		previousEnv: d.flag("addPreviousOutputInEnv", true),
	}
	if !slices.Contains(loggingModes, c.logging) {
		d.fail("logging", "must be one of %s; got %q", strings.Join(loggingModes[1:], ", "), c.logging)
	}
	c.interpreter = d.texts("interpreter")
	c.dir = d.text("dir")
	refuseAssets(d)
	return c, d
}

// refuseAssets says what we leave out, rather than to leave it out silently.
func refuseAssets(d decoder) {
	for _, name := range []string{"assetPaths", "archivePaths"} {
		if !d.fields.Get(name).IsNull() {
			d.fail(name, "is not supported by this provider of pulumi-command: "+
				"let the command print what is needed, or read the files in the program")
		}
	}
}

func (k commandKind) check(inputs property.Map) []p.CheckFailure {
	_, d := k.decode(inputs)
	return *d.failures
}

func (k commandKind) computed() []string { return []string{"stdout", "stderr"} }

func (k commandKind) create(ctx context.Context, inputs property.Map) (property.Map, error) {
	return k.run(ctx, "create", inputs, outputs{}, func(c command) *string { return c.create })
}

func (k commandKind) update(ctx context.Context, state, inputs property.Map) (property.Map, error) {
	return k.run(ctx, "update", inputs, printedBefore(state), func(c command) *string {
		if c.update != nil {
			return c.update
		}
		return c.create
	})
}

func (k commandKind) delete(ctx context.Context, state property.Map) error {
	if state.Get("delete").IsNull() {
		return nil
	}
	_, err := k.run(ctx, "delete", state, printedBefore(state), func(c command) *string { return c.delete })
	return err
}

func (k commandKind) run(
	ctx context.Context, verb string, inputs property.Map, previous outputs, pick func(command) *string,
) (property.Map, error) {
	c, d := k.decode(inputs)
	if err := d.err(); err != nil {
		return property.Map{}, err
	}
	printed := previous // without a script nothing new is printed
	if script := pick(c); script != nil {
		var err error
		if printed, err = k.runner(ctx, verb, *script, c, previous); err != nil {
			return property.Map{}, err
		}
	}
	return printed.properties(), nil
}

func (o outputs) properties() property.Map {
	return property.NewMap(map[string]property.Value{
		"stdout": property.New(o.stdout),
		"stderr": property.New(o.stderr),
	})
}

func printedBefore(state property.Map) outputs {
	d := newDecoder(state)
	return outputs{stdout: d.text("stdout"), stderr: d.text("stderr")}
}
