// Stackmeter compares ways of serving a WSGI application.
//
// A YAML scenario lists server topologies (bare Flask, gunicorn with N workers
// and N threads, nginx in front of it, any command) and a matrix of loads
// (requests × client mode × pool size). stackmeter starts each topology in
// containers around your own app, sends the loads, removes everything, and records
// the duration and the peak memory of each cell.
//
//	stackmeter run scenarios/quickstart.yaml     measure, then print the tables
//	stackmeter plan scenarios/quickstart.yaml    what would run, and nothing else
//	stackmeter report                            print the latest run again
//	stackmeter load http://127.0.0.1:8000/       send a load to a server that is there already
//	stackmeter doctor                            what this machine has and lacks
//
// Results go to standard output, progress and diagnostics to standard error.
//
// Exit status: 0 all cells ok; 1 infrastructure failed; 2 wrong usage or
// scenario; 3 some cells failed; 4 a threshold or comparison failed; 130
// interrupted.
package main

import (
	"os"
)

func main() {
	a := app{stdin: os.Stdin, stdout: os.Stdout, stderr: newTeller(os.Stderr)}
	os.Exit(a.main(os.Args[1:]))
}
