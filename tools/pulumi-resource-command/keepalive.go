package main

import (
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	keepaliveEvery = 15 * time.Second
	keepaliveLimit = 45 * time.Second
)

// keepalive closes the connection to a host that no longer answers: a command
// on a host that lost its power would never end otherwise.
func keepalive(client *ssh.Client, done <-chan struct{}) {
	tick := time.NewTicker(keepaliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		answer := make(chan struct{})
		go func() {
			_, _, _ = client.SendRequest("keepalive@openssh.com", true, nil)
			close(answer)
		}()
		select {
		case <-done:
			return
		case <-answer:
		case <-time.After(keepaliveLimit):
			_ = client.Close()
			return
		}
	}
}
