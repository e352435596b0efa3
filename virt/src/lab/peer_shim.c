/*
 * Preload library for the reference trace-cmd on a kernel under lockdown.
 *
 * Such a kernel refuses every file of the function tracer, for reading and for writing. The
 * reference takes that for a reason to stop, even when it was not asked to trace functions. This
 * gives it /dev/null in place of those files when the kernel refuses them, and changes nothing
 * where the kernel does not.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const function_tracer_files[] = {
	"/set_ftrace_filter",
	"/set_ftrace_notrace",
	"/set_ftrace_pid",
	"/set_ftrace_notrace_pid",
	"/available_filter_functions",
	"/kernel/ftrace_enabled",
};

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

#define DEFINE_OPEN(name)                                                      \
	int name(const char *path, int flags, ...)                             \
	{                                                                      \
		static int (*next)(const char *, int, ...);                    \
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
		if (!next)                                                     \
			next = (int (*)(const char *, int, ...))               \
				dlsym(RTLD_NEXT, #name);                       \
		fd = next(path, flags, mode);                                  \
		if (fd < 0 && was_refused(path))                               \
			fd = next("/dev/null", flags, mode);                   \
		return fd;                                                     \
	}

#define DEFINE_FOPEN(name)                                                     \
	FILE *name(const char *path, const char *mode)                         \
	{                                                                      \
		static FILE *(*next)(const char *, const char *);              \
		FILE *stream;                                                  \
                                                                               \
		if (!next)                                                     \
			next = (FILE * (*)(const char *, const char *))        \
				dlsym(RTLD_NEXT, #name);                       \
		stream = next(path, mode);                                     \
		if (!stream && was_refused(path))                              \
			stream = next("/dev/null", mode);                      \
		return stream;                                                 \
	}

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)
