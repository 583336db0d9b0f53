// Command flanneld carries pods across hosts with flannel's own subnet manager, vxlan and host-gw backends and
// iptables rules. flannel's main imports every backend, one of them from a module that no proxy serves; this one
// imports two, and otherwise takes the same steps in the same order.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
	"k8s.io/klog/v2"
)

const (
	annotationPrefix = "flannel.alpha.coreos.com"
	resyncSeconds    = 60
)

type options struct {
	kubeconfig, netConf, subnetFile, iface string
}

func main() {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server")
	flag.StringVar(&o.netConf, "net-conf", "/etc/kube-flannel/net-conf.json", "the pod network and its backend")
	flag.StringVar(&o.subnetFile, "subnet-file", "/run/flannel/subnet.env", "where this node's subnet is written")
	flag.StringVar(&o.iface, "iface", "eth0", "the interface between the hosts")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "flanneld:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	manager, err := kube.NewSubnetManager(ctx, "", o.kubeconfig, annotationPrefix, o.netConf, true)
	if err != nil {
		return fmt.Errorf("reading the node's pod subnet: %w", err)
	}
	config, err := manager.GetNetworkConfig(ctx)
	if err != nil {
		return fmt.Errorf("reading %s: %w", o.netConf, err)
	}
	stack, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return err
	}
	iface, err := ipmatch.LookupExtIface(o.iface, "", "", stack, ipmatch.PublicIPOpts{})
	if err != nil {
		return fmt.Errorf("looking for the interface %s: %w", o.iface, err)
	}
	kind, err := backend.NewManager(ctx, manager, iface).GetBackend(config.BackendType)
	if err != nil {
		return fmt.Errorf("backend %q: %w", config.BackendType, err)
	}
	var running sync.WaitGroup
	network, err := kind.RegisterNetwork(ctx, &running, config)
	if err != nil {
		return fmt.Errorf("registering the network: %w", err)
	}
	traffic := &iptables.IPTablesManager{}
	if err := traffic.Init(ctx); err != nil {
		return fmt.Errorf("iptables: %w", err)
	}
	lease := network.Lease()
	err = traffic.SetupAndEnsureMasqRules(ctx, config.Network, ip.IP4Net{}, ip.IP4Net{},
		config.IPv6Network, ip.IP6Net{}, ip.IP6Net{}, lease, resyncSeconds, false)
	if err != nil {
		return fmt.Errorf("masquerade rules: %w", err)
	}
	traffic.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, resyncSeconds)
	if err := manager.HandleSubnetFile(o.subnetFile, config, true, lease.Subnet, lease.IPv6Subnet, network.MTU()); err != nil {
		return fmt.Errorf("writing %s: %w", o.subnetFile, err)
	}
	running.Go(func() { network.Run(ctx) })
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		klog.Warningf("telling systemd: %v", err)
	}
	if err := manager.CompleteLease(ctx, lease, &running); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the lease of %s: %w", lease.Subnet, err)
	}
	<-ctx.Done()
	// A watch that does not end must not hold the unit's stop.
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
	}
	return nil
}
