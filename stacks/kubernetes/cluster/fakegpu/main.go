// Command fakegpu is a fake of NVIDIA's device plugin, of its container runtime and of
// its nvidia-smi, for tests without GPUs.
//
//	fakegpu FOLDER COUNT NAME STATE
//
// registers COUNT devices with the kubelet whose device plugins are in FOLDER, as
// nvidia.com/gpu, and tells the fake driver of them, whose folder is STATE. Called as
// nvidia-smi, which it mounts into each container that gets one, it lists the devices of
// that container, or says again and again what is in use on them.
//
//	fakegpu runtime STATE ARGUMENT...
//
// is runc, and adds the fake driver to containers that name the devices which they see.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	resource = "nvidia.com/gpu"
	socket   = "fake-nvidia.sock"
	visible  = "NVIDIA_VISIBLE_DEVICES"
)

func main() {
	if filepath.Base(os.Args[0]) == "nvidia-smi" {
		if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "--query-gpu=") {
			log.Fatal(query(os.Args[1:]))
		}
		for i, uuid := range strings.Split(os.Getenv(visible), ",") {
			fmt.Printf("GPU %d: Fake GPU (UUID: %s)\n", i, uuid)
		}
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "runtime" {
		log.Fatal(runc(os.Args[2], os.Args[3:]))
	}
	if len(os.Args) != 5 {
		log.Fatal("usage: fakegpu FOLDER COUNT NAME STATE")
	}
	count, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = tell(os.Args[4], uuids(count, os.Args[3]))
	}
	if err == nil {
		err = serve(os.Args[1], count, os.Args[3])
	}
	log.Fatal(err)
}

// serve returns only when something failed. The kubelet removes the socket when it
// starts anew; whoever restarts it restarts this too.
func serve(folder string, count int, name string) error {
	at := filepath.Join(folder, socket)
	if err := os.RemoveAll(at); err != nil {
		return err
	}
	listener, err := net.Listen("unix", at)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, &plugin{uuids: uuids(count, name)})
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix://"+filepath.Join(folder, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: socket, ResourceName: resource, Options: &api.DevicePluginOptions{}}
	if _, err := api.NewRegistrationClient(conn).Register(context.Background(), request); err != nil {
		return err
	}
	return <-failed
}

// uuids look like the driver's, and follow from the node's name.
func uuids(count int, name string) []string {
	var all []string
	for i := range count {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", name, i))
		all = append(all, fmt.Sprintf("GPU-%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]))
	}
	return all
}

type plugin struct {
	api.UnimplementedDevicePluginServer
	uuids []string
}

func (*plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	var devices []*api.Device
	for _, uuid := range p.uuids {
		devices = append(devices, &api.Device{ID: uuid, Health: api.Healthy})
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	answer := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Envs:   map[string]string{visible: strings.Join(container.DevicesIds, ",")},
			Mounts: []*api.Mount{{ContainerPath: "/usr/bin/nvidia-smi", HostPath: self, ReadOnly: true}},
		})
	}
	return answer, nil
}
