package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// ownStep is a script in the run folder of a stack of Litelab's, as its command
// resources name it in the variable STEP.
var ownStep = regexp.MustCompile(`^\.lab/run/([^/]+)/[^/]+/[^/]+$`)

// missingStep says that the script which a command is to run is not there, and
// what puts it back: a shell would only say "not found".
func missingStep(c command) error {
	step := c.environment["STEP"]
	found := ownStep.FindStringSubmatch(step)
	if found == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(c.dir, step)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("%s is missing, so the run folder of stack %s is gone or the lab was made from another checkout: "+
		"run 'make destroy STACK=%s', which restores it from the state, or 'make lab STACK=%s' to keep the lab",
		step, found[1], found[1], found[1])
}
