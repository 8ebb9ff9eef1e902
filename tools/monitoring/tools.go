//go:build tools

// Package tools names the program that the local cluster's metrics go through. It has a module of its own: only `make
// monitoring` needs it.
package tools

import (
	_ "github.com/prometheus/statsd_exporter"
)
