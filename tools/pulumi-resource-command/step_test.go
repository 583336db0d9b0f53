package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func stepIn(dir, step string) command {
	return command{dir: dir, environment: map[string]string{"STEP": step, "KEY": "a secret"}}
}

func TestMissingStepNamesWhatPutsItBack(t *testing.T) {
	err := missingStep(stepIn(t.TempDir(), ".lab/run/my-lab/existing-0123456789ab/facts.py"))
	if err == nil || !strings.Contains(err.Error(), "'make destroy STACK=my-lab'") {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
		t.Errorf("not one sentence without other variables: %v", err)
	}
}

func TestStepThatIsThereRuns(t *testing.T) {
	dir, step := t.TempDir(), ".lab/run/my-lab/existing-0123456789ab/facts.py"
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, step)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, step), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := missingStep(stepIn(dir, step)); err != nil {
		t.Error(err)
	}
}

func TestCommandsOfOtherProgramsAreNotLookedAt(t *testing.T) {
	for _, step := range []string{"", "bin/step", "/abs/.lab/run/a/b/c", ".lab/run/a/b"} {
		if err := missingStep(stepIn(t.TempDir(), step)); err != nil {
			t.Errorf("%q: %v", step, err)
		}
	}
}
