// What a test needs inside of a pod: a web server, name lookups, a request, a file, some work. Nothing but the standard library.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command string, arguments []string) error {
	switch command {
	case "serve": // answers with the name of its pod and the address of who asks
		name, _ := os.Hostname()
		fmt.Println("serving as", name)
		return http.ListenAndServe(":8080", http.HandlerFunc(func(answer http.ResponseWriter, asked *http.Request) {
			fmt.Fprintf(answer, "%s asked by %s\n", name, asked.RemoteAddr)
		}))
	case "lookup": // the addresses of a name
		found, err := net.LookupHost(arguments[0])
		for _, address := range found {
			fmt.Println(address)
		}
		return err
	case "srv": // the ports and hosts of a service's port
		_, found, err := net.LookupSRV(arguments[0], "tcp", arguments[1])
		for _, record := range found {
			fmt.Println(record.Port, record.Target)
		}
		return err
	case "get": // what a URL answers, within five seconds
		client := http.Client{Timeout: 5 * time.Second}
		answer, err := client.Get(arguments[0])
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, answer.Body)
		return err
	case "write": // a line into a new file, read back
		if err := os.WriteFile(arguments[0], []byte(arguments[1]), 0o600); err != nil {
			return err
		}
		content, err := os.ReadFile(arguments[0])
		fmt.Printf("%s as %d\n", content, os.Getuid())
		return err
	case "burn": // one CPU, for good
		for {
		}
	}
	return fmt.Errorf("no command %s", command)
}
