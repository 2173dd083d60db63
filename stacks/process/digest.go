package process

import "stackmeter/stacks"

// Digest implements stacks.Runtime: local processes are not made from images.
func (r *Runtime) Digest(stacks.Service) string { return "" }
