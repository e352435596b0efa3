/*
 * Preload library for the reference trace-cmd on a kernel under lockdown.
 *
 * Such a kernel refuses every file of the function tracer, for reading and for writing. The
 * reference takes that for a reason to stop, even when it was not asked to trace functions. This
 * gives it /dev/null in place of those files when the kernel refuses them, and changes nothing
 * where the kernel does not. The switch /proc/sys/kernel/ftrace_enabled opens for writing all the
 * same, and refuses what is written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef int open_function(const char *, int, ...);
typedef FILE *fopen_function(const char *, const char *);

static const char *const function_tracer_files[] = {
	"/set_ftrace_filter",
	"/set_ftrace_notrace",
	"/set_ftrace_pid",
	"/set_ftrace_notrace_pid",
	"/available_filter_functions",
};

static const char function_switch[] = "/proc/sys/kernel/ftrace_enabled";

/* Whether the kernel has just refused one of those files. */
static int was_refused(const char *path)
{
	size_t length = strlen(path);
	size_t i;

	if (errno != EPERM && errno != EACCES)
		return 0;
	for (i = 0; i < sizeof(function_tracer_files) / sizeof(*function_tracer_files); i++) {
		size_t end = strlen(function_tracer_files[i]);

		if (length >= end && !strcmp(path + length - end, function_tracer_files[i]))
			return 1;
	}
	return 0;
}

/* Whether the switch refuses even the value it has. */
static int is_stuck(open_function *next)
{
	int fd = next(function_switch, O_RDONLY);
	char value;
	ssize_t length;

	if (fd < 0)
		return 0;
	length = read(fd, &value, 1);
	close(fd);
	fd = length == 1 ? next(function_switch, O_WRONLY) : -1;
	if (fd < 0)
		return 0;
	length = write(fd, &value, 1);
	close(fd);
	return length < 0;
}

#define DEFINE_OPEN(name)                                                      \
	int name(const char *path, int flags, ...)                             \
	{                                                                      \
		open_function *next = (open_function *)dlsym(RTLD_NEXT, #name); \
		mode_t mode = 0;                                               \
		int fd;                                                        \
                                                                               \
		if (flags & (O_CREAT | O_TMPFILE)) {                           \
			va_list rest;                                          \
                                                                               \
			va_start(rest, flags);                                 \
			mode = va_arg(rest, mode_t);                           \
			va_end(rest);                                          \
		}                                                              \
		if ((flags & O_ACCMODE) != O_RDONLY &&                         \
		    !strcmp(path, function_switch) && is_stuck(next))          \
			path = "/dev/null";                                    \
		fd = next(path, flags, mode);                                  \
		if (fd < 0 && was_refused(path))                               \
			fd = next("/dev/null", flags, mode);                   \
		return fd;                                                     \
	}

#define DEFINE_FOPEN(name)                                                     \
	FILE *name(const char *path, const char *mode)                         \
	{                                                                      \
		fopen_function *next = (fopen_function *)dlsym(RTLD_NEXT, #name); \
		FILE *stream;                                                  \
                                                                               \
		if (*mode != 'r' && !strcmp(path, function_switch) &&          \
		    is_stuck((open_function *)dlsym(RTLD_NEXT, "open")))       \
			path = "/dev/null";                                    \
		stream = next(path, mode);                                     \
		if (!stream && was_refused(path))                              \
			stream = next("/dev/null", mode);                      \
		return stream;                                                 \
	}

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)
