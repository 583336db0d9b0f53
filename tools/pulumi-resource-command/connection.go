package main

import "time"

const noHostKey = "is missing, so the remote host's identity cannot be verified, and this provider " +
	"does not connect to a host it cannot verify. Give the host's public key as host_key in the connection, " +
	"in the form of /etc/ssh/ssh_host_ed25519_key.pub: \"ssh-ed25519 AAAA...\". Make the key pair " +
	"yourself and install it on the host when it is created (cloud-init: ssh_keys), or read it once over a " +
	"network you trust with: ssh-keyscan -t ed25519 HOST."

// endpoint is one host to log in to.
type endpoint struct {
	host     string
	port     int
	user     string
	hostKeys string

	password           string
	privateKey         string
	privateKeyPassword string
	agentSocket        string

	dialErrorLimit int           // -1: none
	dialTimeout    time.Duration // 0: none
}

// connection is a host, perhaps behind another one.
type connection struct {
	endpoint
	proxy *endpoint
}

func decodeConnection(d decoder) connection {
	var c connection
	fields, ok := d.object("connection")
	if !ok {
		if !d.unknown("connection") {
			d.fail("connection", "is missing")
		}
		return c
	}
	c.endpoint = decodeEndpoint(fields)
	if proxy, ok := fields.object("proxy"); ok {
		e := decodeEndpoint(proxy)
		c.proxy = &e
	}
	return c
}

func decodeEndpoint(d decoder) endpoint {
	e := endpoint{
		host:               d.text("host"),
		port:               d.whole("port", 22),
		user:               d.text("user"),
		hostKeys:           d.text("hostKey"),
		password:           d.text("password"),
		privateKey:         d.text("privateKey"),
		privateKeyPassword: d.text("privateKeyPassword"),
		agentSocket:        d.text("agentSocketPath"),
		dialErrorLimit:     d.whole("dialErrorLimit", 10),
		dialTimeout:        time.Duration(d.whole("perDialTimeout", 15)) * time.Second,
	}
	if e.user == "" {
		e.user = "root"
	}
	if e.host == "" && !d.unknown("host") {
		d.fail("host", "is missing")
	}
	switch {
	case e.hostKeys != "":
		if _, err := parseHostKeys(e.hostKeys); err != nil {
			d.fail("hostKey", "%s", err)
		}
	case !d.unknown("hostKey"):
		d.fail("hostKey", noHostKey)
	}
	return e
}
