package main

import (
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"

	"github.com/coredns/coredns/coremain"
)

// dns is CoreDNS with the plugins that a cluster's own names need; the other fifty would double its build.
func dns() {
	coremain.Run()
}
