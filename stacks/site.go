package stacks

import "fmt"

// SocketFolder is where containers have the folder of a stack's sockets. It is a file
// system in memory, mounted with SocketOptions. Like /tmp it is open to all users: those
// of two images have nothing to do with each other.
const (
	SocketFolder  = "/run/stackmeter"
	SocketOptions = "mode=1777,size=1m,nosuid,nodev,noexec"
)

// SocketPath is where a service that has a socket listens in its container.
func (s Service) SocketPath() string { return SocketFolder + "/" + s.Name + ".sock" }

// InContainer is where a service is in a container of its own, from which it reaches
// others by these addresses.
func (s Service) InContainer(reach map[string]Address) Site {
	at := Site{Listen: Address{Host: "0.0.0.0", Port: s.Port, Socket: s.SocketPath()}, Reach: reach, Folder: "/tmp"}
	if s.Proxy != nil {
		at.Config = "/etc/" + s.Proxy.Software + "/stackmeter.conf"
	}
	return at
}

// ByName are the addresses of the services in a private network that knows their names.
func (s Spec) ByName() map[string]Address {
	reach := map[string]Address{}
	for _, one := range s.Services {
		reach[one.Name] = Address{Host: one.Name, Port: one.Port, Socket: one.SocketPath()}
	}
	return reach
}

// InPod is where the services are in one Kubernetes Pod. They share its network: each
// has a port of its own, and others reach it at 127.0.0.1.
func (s Spec) InPod() ([]Site, error) {
	taken := map[int]string{}
	sites := make([]Site, len(s.Services))
	reach := map[string]Address{}
	for i, one := range s.Services {
		port := one.Port
		if other := taken[port]; other != "" && one.Debian == "" && one.Proxy == nil {
			return nil, fmt.Errorf("services %s and %s both listen on port %d, and the containers of a pod share their ports: give one of them another port", other, one.Name, port)
		}
		for taken[port] != "" {
			port++
		}
		taken[port] = one.Name
		sites[i] = one.InContainer(reach)
		sites[i].Listen.Port = port
		reach[one.Name] = Address{Host: "127.0.0.1", Port: port, Socket: one.SocketPath()}
	}
	return sites, nil
}
