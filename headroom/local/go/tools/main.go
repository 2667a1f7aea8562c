// Small programs of the embedded cluster that need the standard library only, told apart by the name they are called by.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	var err error
	switch name := filepath.Base(os.Args[0]); name {
	case "pause":
		pause()
	case "pki":
		err = issue(os.Stdin, os.Args[1])
	default:
		err = fmt.Errorf("%s: call this program pause or pki", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
