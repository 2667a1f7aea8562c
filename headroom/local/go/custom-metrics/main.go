// An adapter of the custom metrics API. With -prometheus its values are what Prometheus has of the pods; without it they
// are posted, for nodes that run no software: the library's own test provider, with an address to choose for the posts.
package main

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/klog/v2"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/test-adapter/provider"
)

func main() {
	adapter := &cmd.AdapterBase{Name: "custom-metrics"}
	posts := adapter.Flags().String("posts", "127.0.0.1:8080", "the address that takes values")
	address := adapter.Flags().String("prometheus", "", "the URL of the Prometheus to ask instead")
	if err := adapter.Flags().Parse(os.Args); err != nil {
		klog.Fatal(err)
	}
	client, err := adapter.DynamicClient()
	if err != nil {
		klog.Fatal(err)
	}
	mapper, err := adapter.RESTMapper()
	if err != nil {
		klog.Fatal(err)
	}
	if *address != "" {
		adapter.WithCustomMetrics(newProvider(*address, client, mapper))
		klog.Fatal(adapter.Run(context.Background()))
	}
	values, writer := provider.NewFakeProvider(client, mapper)
	adapter.WithCustomMetrics(values)
	container := restful.NewContainer()
	container.Add(writer)
	go func() {
		server := &http.Server{Addr: *posts, Handler: container, ReadHeaderTimeout: 3 * time.Second}
		klog.Fatal(server.ListenAndServe())
	}()
	klog.Fatal(adapter.Run(context.Background()))
}
