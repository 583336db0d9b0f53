package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
)

// errHostKey ends all attempts: another try meets the same host.
var errHostKey = errors.New("host key verification failed")

// parseHostKeys reads one public key a line, as in a .pub file.
func parseHostKeys(text string) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for rest := []byte(text); len(bytes.TrimSpace(rest)) > 0; {
		key, _, _, next, err := ssh.ParseAuthorizedKey(rest)
		if err != nil {
			return nil, fmt.Errorf("is no public key of the form \"ssh-ed25519 AAAA...\": %w", err)
		}
		keys = append(keys, key)
		rest = next
	}
	if len(keys) == 0 {
		return nil, errors.New("is empty")
	}
	return keys, nil
}

// verifyHost accepts the given keys only.
func verifyHost(keys []ssh.PublicKey) ssh.HostKeyCallback {
	return func(host string, _ net.Addr, got ssh.PublicKey) error {
		for _, key := range keys {
			if bytes.Equal(key.Marshal(), got.Marshal()) {
				return nil
			}
		}
		return fmt.Errorf("%w: %s shows %s %s, expected %s", errHostKey, host,
			got.Type(), ssh.FingerprintSHA256(got), ssh.FingerprintSHA256(keys[0]))
	}
}

// hostKeyAlgorithms makes the server show a key that we can compare.
func hostKeyAlgorithms(keys []ssh.PublicKey) []string {
	var algorithms []string
	for _, key := range keys {
		if key.Type() == ssh.KeyAlgoRSA {
			// RSA keys have signatures better than their name's.
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		algorithms = append(algorithms, key.Type())
	}
	return algorithms
}
