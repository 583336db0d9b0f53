package main

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

const helperVariable = "RUN_SCRIPT_AS_HELPER"

// TestMain makes the test program a plugin that runs one command, so that a
// test can kill it.
func TestMain(m *testing.M) {
	if script := os.Getenv(helperVariable); script != "" {
		_ = shell(script).run(context.Background())
		return
	}
	os.Exit(m.Run())
}

func TestKilledPluginLeavesNoCommand(t *testing.T) {
	for name, before := range map[string]string{"obedient": "", "deaf": "trap '' TERM;"} {
		t.Run(name, func(t *testing.T) {
			script, file := sleeping(t, before)
			plugin := exec.Command(os.Args[0])
			plugin.Env = append(os.Environ(), helperVariable+"="+script)
			if err := plugin.Start(); err != nil {
				t.Fatal(err)
			}
			pids := pidsIn(t, file)
			// The plugin has yet to tell the watcher what the command told us.
			time.Sleep(100 * time.Millisecond)
			_ = plugin.Process.Kill()
			_ = plugin.Wait()
			for _, pid := range pids {
				eventually(t, 2*time.Second, "a process is left", func() bool { return gone(pid) })
			}
		})
	}
}

func TestWatcherForgetsCommandsThatEnded(t *testing.T) {
	// A daemon of an ended command must outlive the plugin.
	file := t.TempDir() + "/pids"
	script := "echo $$ >" + file + "; sleep 60 >/dev/null 2>&1 & echo $! >>" + file
	plugin := exec.Command(os.Args[0])
	plugin.Env = append(os.Environ(), helperVariable+"="+script)
	if err := plugin.Run(); err != nil {
		t.Fatal(err)
	}
	daemon := pidsIn(t, file)[1]
	time.Sleep(killGrace)
	if gone(daemon) {
		t.Error("the daemon was ended")
	}
}
