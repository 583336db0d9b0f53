package main

import (
	"errors"
	"syscall"
	"time"
)

const (
	// Between TERM and KILL.
	killGrace = 500 * time.Millisecond
	groupPoll = 10 * time.Millisecond
)

// endGroup ends every process of a group: TERM, grace, KILL.
func endGroup(pgid int) {
	signalGroup(pgid, syscall.SIGTERM)
	// A stopped process would sleep through its TERM.
	signalGroup(pgid, syscall.SIGCONT)
	for deadline := time.Now().Add(killGrace); time.Now().Before(deadline); {
		if !groupAlive(pgid) {
			return
		}
		time.Sleep(groupPoll)
	}
	signalGroup(pgid, syscall.SIGKILL)
}

func signalGroup(pgid int, sig syscall.Signal) {
	_ = syscall.Kill(-pgid, sig) // an empty group is what we want
}

func groupAlive(pgid int) bool {
	return !errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH)
}
