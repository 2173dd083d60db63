/*
 * A FAKE libnvidia-ml.so.1: no GPU is behind it. Tests compile it, so that
 * everything but the device itself is real: the library's loading, the calls
 * through cgo, processes, containers.
 *
 * Its state is the folder that STACKMETER_FAKE_GPU names, read anew at every
 * call. See the Go package fakedriver beside it, which writes the folder and
 * documents its format.
 *
 * With -DOLD_DRIVER it has no function newer than driver 450: no version 2 of
 * the memory, no versions 2 and 3 of the process lists.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3,
       NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9 };
enum { MAX_DEVICES = 16, MAX_PROCESSES = 256, NAME = 96 };

typedef void *handle;
typedef uint64_t u64;
typedef uint32_t u32;

struct device {
	char uuid[NAME], name[NAME];
	int parent; /* index of the GPU that this is a MIG instance of, or -1 */
	u64 total, reserved, base;
	u32 utilization, power, limit, sm, mem, temperature;
	u64 energy, throttle;
};

struct process {
	int device;
	u32 pid;
	u64 bytes, peak; /* all ones: not available */
	char kind;       /* c, g or m */
};

struct state {
	char driver[NAME];
	int devices, processes, accounting, garbage;
	struct device device[MAX_DEVICES];
	struct process process[MAX_PROCESSES];
	int busies;
	struct busy { int device; u32 pid, share; u64 stamp; } busy[MAX_PROCESSES];
	int error; /* injected into the call under way */
};

static int started;

static u64 number(const char *s)
{
	return strcmp(s, "-") == 0 ? ~(u64)0 : strtoull(s, NULL, 10);
}

static int find(const struct state *s, const char *name)
{
	for (int i = 0; i < s->devices; i++)
		if (strcmp(s->device[i].uuid, name) == 0)
			return i;
	return *name >= '0' && *name <= '9' ? atoi(name) : -1;
}

static void add(struct state *s, int device, u32 pid, u64 bytes, u64 peak, char kind)
{
	if (s->processes == MAX_PROCESSES || device < 0 || device >= s->devices)
		return;
	s->process[s->processes++] = (struct process){device, pid, bytes, peak, kind};
}

/* An allocation file belongs to the process that holds a POSIX write lock on
 * it. The kernel answers with its PID in the caller's PID namespace, and drops
 * the lock when the process ends: as a driver does with its memory. */
static void allocations(struct state *s, const char *root)
{
	char path[4096], text[1024], device[NAME], bytes[32], peak[32];
	snprintf(path, sizeof path, "%s/alloc", root);
	DIR *dir = opendir(path);
	struct dirent *e;
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
		ssize_t n = read(fd, text, sizeof text - 1);
		if (n > 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0) {
			text[n] = 0;
			char *rest = text, *line;
			while ((line = strsep(&rest, "\n"))) {
				char kind = 'c';
				int fields = sscanf(line, "%95s %31s %31s %c", device, bytes, peak, &kind);
				if (fields >= 2)
					add(s, find(s, device), (u32)lock.l_pid, number(bytes),
					    fields > 2 ? number(peak) : 0, kind);
			}
		}
		close(fd);
	}
	if (dir)
		closedir(dir);
}

/* load reads the state for a call to function about a device (-1: none). */
static int load(struct state *s, const char *function, int device)
{
	const char *root = getenv("STACKMETER_FAKE_GPU");
	char path[4096], line[1024], a[NAME], b[NAME], c[NAME], d[NAME];
	memset(s, 0, sizeof *s);
	if (!root)
		return DRIVER_NOT_LOADED;
	snprintf(path, sizeof path, "%s/devices", root);
	FILE *f = fopen(path, "re");
	if (!f)
		return DRIVER_NOT_LOADED;
	while (fgets(line, sizeof line, f)) {
		int at = -1, name = 0;
		char kind = 'c';
		if (sscanf(line, "driver %95s", a) == 1) {
			strcpy(s->driver, a);
		} else if (s->devices < MAX_DEVICES &&
			   sscanf(line, "device %95s %95s %95s %95s %d %n", a, b, c, d, &at, &name) == 5) {
			struct device *v = &s->device[s->devices++];
			v->parent = at;
			strcpy(v->uuid, a);
			v->total = number(b), v->reserved = number(c), v->base = number(d);
			snprintf(v->name, sizeof v->name, "%.*s", (int)strcspn(line + name, "\n"), line + name);
		} else if (sscanf(line, "process %d %95s %95s %c", &at, a, b, &kind) >= 3) {
			add(s, at, (u32)number(a), number(b), 0, kind);
		} else if (sscanf(line, "telemetry %d", &at) == 1 && at >= 0 && at < s->devices) {
			struct device *v = &s->device[at];
			unsigned long long energy = 0, throttle = 0;
			sscanf(line, "telemetry %*d %u %u %u %llu %u %u %u %llu", &v->utilization, &v->power,
			       &v->limit, &energy, &v->sm, &v->mem, &v->temperature, &throttle);
			v->energy = energy, v->throttle = throttle;
		} else if (sscanf(line, "error %95s %95s %d", a, b, &at) >= 2) {
			if ((strcmp(a, function) == 0 && (at < 0 || at == device)) ||
			    (strcmp(a, "*") == 0 && at >= 0 && at == device))
				s->error = atoi(b);
		} else if (sscanf(line, "hang %95s %95s", a, b) == 2) {
			if (strcmp(a, function) == 0) {
				u64 ms = number(b);
				struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
				nanosleep(&t, NULL);
			}
		} else if (s->busies < MAX_PROCESSES && sscanf(line, "busy %d %95s %95s %95s", &at, a, b, c) == 4) {
			s->busy[s->busies++] = (struct busy){at, (u32)number(a), (u32)number(b), number(c)};
		} else if (strncmp(line, "accounting", 10) == 0) {
			s->accounting = 1;
		} else if (strncmp(line, "garbage", 7) == 0) {
			s->garbage = 1;
		}
	}
	fclose(f);
	allocations(s, root);
	return s->error;
}

/* begin loads the state for a call about a device. */
static int begin(struct state *s, const char *function, handle h, struct device **d)
{
	if (!started)
		return UNINITIALIZED;
	int i = (int)(intptr_t)h - 1;
	int ret = load(s, function, i);
	if (ret != SUCCESS)
		return ret;
	if (i < 0 || i >= s->devices)
		return 15; /* GPU_IS_LOST: it was there, and is no more */
	*d = &s->device[i];
	return SUCCESS;
}

static u64 used(const struct state *s, const struct device *d)
{
	u64 n = d->base;
	for (int i = 0; i < s->processes; i++)
		if (&s->device[s->process[i].device] == d && s->process[i].bytes != ~(u64)0)
			n += s->process[i].bytes;
	return n > d->total ? d->total : n;
}

int nvmlShutdown(void)
{
	struct state s;
	started = 0;
	return load(&s, __func__, -1);
}

const char *nvmlErrorString(int r) { (void)r; return "error of the FAKE driver"; }

static int start(void)
{
	struct state s;
	int ret = load(&s, "nvmlInit", -1);
	started = ret == SUCCESS;
	return ret;
}

int nvmlSystemGetDriverVersion(char *version, u32 length)
{
	struct state s;
	int ret = load(&s, __func__, -1);
	if (ret == SUCCESS)
		snprintf(version, length, "%s", s.driver);
	return ret;
}

static int count(u32 *n)
{
	struct state s;
	int ret = load(&s, "nvmlDeviceGetCount", -1);
	*n = 0;
	for (int i = 0; i < s.devices; i++)
		*n += s.device[i].parent < 0;
	return ret;
}

static int by_index(u32 index, handle *h)
{
	struct state s;
	int ret = load(&s, "nvmlDeviceGetHandleByIndex", (int)index);
	if (ret != SUCCESS)
		return ret;
	for (int i = 0; i < s.devices; i++)
		if (s.device[i].parent < 0 && index-- == 0) {
			*h = (handle)(intptr_t)(i + 1);
			return SUCCESS;
		}
	return INVALID_ARGUMENT;
}

/* A call about one device: name, parameters, body with s and d. */
#define CALL(function, parameters, ...)                        \
	int function parameters                                \
	{                                                      \
		struct state s;                                \
		struct device *d;                              \
		int ret = begin(&s, #function, h, &d);         \
		if (ret != SUCCESS)                            \
			return ret;                            \
		__VA_ARGS__;                                   \
		return ret;                                    \
	}

CALL(nvmlDeviceGetUUID, (handle h, char *uuid, u32 n), snprintf(uuid, n, "%s", d->uuid))
CALL(nvmlDeviceGetName, (handle h, char *name, u32 n), snprintf(name, n, "%s", d->name))

struct memory { u64 total, free, used; };
CALL(nvmlDeviceGetMemoryInfo, (handle h, struct memory *m),
     m->total = d->total; m->used = used(&s, d) + d->reserved; m->free = m->total - m->used)

struct utilization { u32 gpu, memory; };
CALL(nvmlDeviceGetUtilizationRates, (handle h, struct utilization *u), u->gpu = d->utilization; u->memory = 0)
CALL(nvmlDeviceGetPowerUsage, (handle h, u32 *mw), *mw = d->power)
CALL(nvmlDeviceGetEnforcedPowerLimit, (handle h, u32 *mw), *mw = d->limit)
CALL(nvmlDeviceGetTotalEnergyConsumption, (handle h, u64 *mj), *mj = d->energy)
CALL(nvmlDeviceGetClockInfo, (handle h, int type, u32 *mhz), *mhz = type == 1 ? d->sm : d->mem)
CALL(nvmlDeviceGetTemperature, (handle h, int sensor, u32 *c), (void)sensor; *c = d->temperature)
CALL(nvmlDeviceGetCurrentClocksThrottleReasons, (handle h, u64 *r), *r = d->throttle)
CALL(nvmlDeviceGetAccountingMode, (handle h, int *mode), *mode = s.accounting)

struct busy_sample { u32 pid; u64 stamp; u32 sm, memory, encoder, decoder; };
CALL(nvmlDeviceGetProcessUtilization, (handle h, struct busy_sample *list, u32 *n, u64 since),
     u32 room = list ? *n : 0; *n = 0;
     for (int i = 0; i < s.busies; i++)
	     if (&s.device[s.busy[i].device] == d && s.busy[i].stamp > since) {
		     if (*n < room)
			     list[*n] = (struct busy_sample){.pid = s.busy[i].pid, .stamp = s.busy[i].stamp, .sm = s.busy[i].share};
		     ++*n;
	     }
     ret = *n == 0 ? NOT_FOUND : *n > room ? INSUFFICIENT_SIZE : SUCCESS)

struct accounting { u32 gpu, memory; u64 peak, time, start; u32 running, reserved[5]; };
CALL(nvmlDeviceGetAccountingStats, (handle h, u32 pid, struct accounting *a),
     memset(a, 0, sizeof *a); ret = NOT_FOUND;
     for (int i = 0; i < s.processes; i++)
	     if (s.process[i].pid == pid && &s.device[s.process[i].device] == d)
		     a->peak = s.process[i].peak, ret = SUCCESS)

/* list fills in the processes of one kind, in entries of a size. A driver with
 * the garbage of 535.43 lays out larger entries than it announces; what they
 * would write beyond the buffer is left out here. */
static int list(handle h, const char *function, char kind, u32 *n, char *entries, size_t size)
{
	struct state s;
	struct device *d;
	int ret = begin(&s, function, h, &d);
	if (ret != SUCCESS)
		return ret;
	size_t stride = s.garbage ? size + 8 : size;
	char buffer[MAX_PROCESSES * 40];
	u32 found = 0;
	memset(buffer, 0, sizeof buffer);
	for (int i = 0; i < s.processes; i++) {
		const struct process *p = &s.process[i];
		if (&s.device[p->device] != d || p->kind != kind)
			continue;
		char *e = buffer + stride * found++;
		memcpy(e, &p->pid, 4);
		memcpy(e + 8, &p->bytes, 8);
		if (size > 16)
			memset(e + 16, 0xff, 8); /* no MIG instance */
	}
	u32 room = *n;
	*n = found;
	if (found > room)
		return INSUFFICIENT_SIZE;
	memcpy(entries, buffer, size * found);
	return SUCCESS;
}

#ifdef OLD_DRIVER
int nvmlInit(void) { return start(); }
int nvmlDeviceGetCount(u32 *n) { return count(n); }
int nvmlDeviceGetHandleByIndex(u32 i, handle *h) { return by_index(i, h); }
int nvmlDeviceGetComputeRunningProcesses(handle h, u32 *n, void *p)
{
	return list(h, "nvmlDeviceGetComputeRunningProcesses", 'c', n, p, 16);
}
int nvmlDeviceGetGraphicsRunningProcesses(handle h, u32 *n, void *p)
{
	return list(h, "nvmlDeviceGetGraphicsRunningProcesses", 'g', n, p, 16);
}
#else
int nvmlInit_v2(void) { return start(); }
int nvmlDeviceGetCount_v2(u32 *n) { return count(n); }
int nvmlDeviceGetHandleByIndex_v2(u32 i, handle *h) { return by_index(i, h); }

struct memory_v2 { u32 version; u64 total, reserved, free, used; };
CALL(nvmlDeviceGetMemoryInfo_v2, (handle h, struct memory_v2 *m),
     m->total = d->total; m->reserved = d->reserved; m->used = used(&s, d);
     m->free = m->total - m->used - m->reserved)

/* Errors are named without the version, so that a test need not know it. */
int nvmlDeviceGetComputeRunningProcesses_v3(handle h, u32 *n, void *p)
{
	return list(h, "nvmlDeviceGetComputeRunningProcesses", 'c', n, p, 24);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(handle h, u32 *n, void *p)
{
	return list(h, "nvmlDeviceGetGraphicsRunningProcesses", 'g', n, p, 24);
}
int nvmlDeviceGetMPSComputeRunningProcesses_v3(handle h, u32 *n, void *p)
{
	return list(h, "nvmlDeviceGetMPSComputeRunningProcesses", 'm', n, p, 24);
}

CALL(nvmlDeviceGetMigMode, (handle h, u32 *current, u32 *pending),
     *current = 0;
     for (int i = 0; i < s.devices; i++)
	     if (s.device[i].parent >= 0 && &s.device[s.device[i].parent] == d)
		     *current = 1;
     *pending = *current)
CALL(nvmlDeviceGetMaxMigDeviceCount, (handle h, u32 *n), *n = 7)
CALL(nvmlDeviceGetMigDeviceHandleByIndex, (handle h, u32 index, handle *instance),
     ret = NOT_FOUND;
     for (int i = 0; i < s.devices; i++)
	     if (s.device[i].parent >= 0 && &s.device[s.device[i].parent] == d && index-- == 0)
		     *instance = (handle)(intptr_t)(i + 1), ret = SUCCESS)
#endif
