/* Records what a program writes under a folder, and in which order, so that power cuts can be replayed.
 *
 * Preloaded (LD_PRELOAD). POWERCUT_FOLDER names the folder, POWERCUT_TRACE the trace. One lock is held over each call and its
 * record, so that the order of the trace is the order of the calls. A record: kind (1 byte), path length (4), path, number (8),
 * data length (4), data; integers as the machine has them.
 *
 *   w  a write: number = offset, data          t  a truncation: number = new length
 *   y  after a write by a descriptor that syncs what it writes (O_DSYNC, as LMDB's for its meta pages): the same again
 *   s  a sync of a file or folder              c  a file was made
 *   m  a folder was made                       r  a rename: data = new path
 *   u  a file was removed                      d  a folder was removed
 *   a  standard output: data (the workload tells there what it has acknowledged)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static int trace = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("POWERCUT_FOLDER"), *to = getenv("POWERCUT_TRACE");
    if (!where || !to || !realpath(where, folder)) return;
    folder_length = strlen(folder);
    trace = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_inside(const char *path) {
    return trace >= 0 && strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0);
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, trace, at, length);
        if (done <= 0) _exit(97); /* a trace with a hole would prove nothing */
        at += done;
        length -= (size_t)done;
    }
}

static void record(char kind, const char *path, uint64_t number, const void *data, size_t length) {
    uint32_t path_length = (uint32_t)strlen(path), data_length = (uint32_t)length;
    put(&kind, 1);
    put(&path_length, 4);
    put(path, path_length);
    put(&number, 8);
    put(&data_length, 4);
    put(data, length);
}

/* The path of an open file, if it lies inside. */
static int path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_inside(path);
}

static void absolute(int at, const char *path, char *out) {
    char base[PATH_MAX] = "";
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    if (at == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, base, sizeof base - 1);
        base[length > 0 ? length : 0] = 0;
    }
    snprintf(out, PATH_MAX, "%.2000s/%.2000s", base, path);
}

static int opening(int at, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    struct stat data;
    pthread_mutex_lock(&lock);
    absolute(at, path, whole);
    int inside = is_inside(whole), was_there = inside && stat(whole, &data) == 0;
    int file = (int)syscall(SYS_openat, at, path, flags, mode), error = errno;
    if (file >= 0 && inside && (flags & O_CREAT) && !was_there) record('c', whole, 0, "", 0);
    if (file >= 0 && inside && (flags & O_TRUNC) && was_there) record('t', whole, 0, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return file;
}

#define MODE                          \
    mode_t mode = 0;                  \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest;                 \
        va_start(rest, flags);        \
        mode = va_arg(rest, mode_t);  \
        va_end(rest);                 \
    }
int open(const char *path, int flags, ...) { MODE return opening(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opening(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opening(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opening(at, path, flags, mode); }

/* A write at a known offset that went as `done` says. */
static void wrote(int file, off_t offset, const void *data, ssize_t done) {
    char path[PATH_MAX];
    if (done <= 0 || !path_of(file, path)) return;
    record('w', path, (uint64_t)offset, data, (size_t)done);
    if (fcntl(file, F_GETFL) & O_DSYNC) record('y', path, (uint64_t)offset, data, (size_t)done);
}

ssize_t pwrite64(int file, const void *data, size_t length, off_t offset) {
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, file, data, length, offset);
    int error = errno;
    wrote(file, offset, data, done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
ssize_t pwrite(int file, const void *data, size_t length, off_t offset) { return pwrite64(file, data, length, offset); }

ssize_t write(int file, const void *data, size_t length) {
    pthread_mutex_lock(&lock);
    off_t offset = lseek(file, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_write, file, data, length);
    int error = errno;
    if (file == 1 && done > 0 && trace >= 0) record('a', "", 0, data, (size_t)done);
    else if (offset >= 0) wrote(file, offset, data, done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = pwrite64(file, parts[i].iov_base, parts[i].iov_len, offset + total);
        if (done < 0) return total > 0 ? total : done;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off_t offset) { return pwritev(file, parts, count, offset); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write(file, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return total > 0 ? total : done;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}

static int on_file(char kind, int file, long call, uint64_t number) {
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    int done = (int)syscall(call, file, number), error = errno;
    if (done == 0 && path_of(file, path)) record(kind, path, number, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int fsync(int file) { return on_file('s', file, SYS_fsync, 0); }
int fdatasync(int file) { return on_file('s', file, SYS_fdatasync, 0); }
int ftruncate64(int file, off_t length) { return on_file('t', file, SYS_ftruncate, (uint64_t)length); }
int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

static int on_path(char kind, int at, const char *path, long call, long third) {
    char whole[PATH_MAX];
    pthread_mutex_lock(&lock);
    absolute(at, path, whole);
    int done = (int)syscall(call, at, path, third), error = errno;
    if (done == 0 && is_inside(whole)) record(kind, whole, 0, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int mkdir(const char *path, mode_t mode) { return on_path('m', AT_FDCWD, path, SYS_mkdirat, mode); }
int unlink(const char *path) { return on_path('u', AT_FDCWD, path, SYS_unlinkat, 0); }
int rmdir(const char *path) { return on_path('d', AT_FDCWD, path, SYS_unlinkat, AT_REMOVEDIR); }
int unlinkat(int at, const char *path, int flags) {
    return on_path(flags & AT_REMOVEDIR ? 'd' : 'u', at, path, SYS_unlinkat, flags);
}

int rename(const char *from, const char *to) {
    char old[PATH_MAX], new[PATH_MAX];
    pthread_mutex_lock(&lock);
    absolute(AT_FDCWD, from, old);
    absolute(AT_FDCWD, to, new);
    int done = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to), error = errno;
    if (done == 0 && is_inside(old)) record('r', old, 0, new, strlen(new));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
