/* Makes calls that change files under a folder fail, so that it can be seen what a program does then.
 *
 * Preloaded (LD_PRELOAD). FAULTS_FOLDER names the folder. Calls on paths inside that contain FAULTS_PATH (all, when it is not set)
 * and are of a kind in FAULTS_KINDS are counted from 1; the one numbered FAULTS_AT fails with the error number FAULTS_ERROR, and
 * with FAULTS_ON set every later one as well, as on a disk that stays full or broken. A write that fails has written its first
 * half before, as a disk that runs full does. Whatever the kind, every sync of a file after one of that file has failed is told in
 * FAULTS_REPORT as a line `again PATH`: nothing may be believed about it. At the end of the process the report gets `calls N`.
 *
 *   w  write, pwrite, writev, pwritev   s  fsync, fdatasync   t  ftruncate   n  names: open with O_CREAT, mkdir, rename, unlink, rmdir
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FAILED_SYNCS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static const char *part, *kinds = "wstn";
static unsigned long calls, at;
static int error_number, stays, report = -1;
static char failed[FAILED_SYNCS][PATH_MAX];
static int failures;

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("FAULTS_FOLDER"), *to = getenv("FAULTS_REPORT");
    if (!where || !to || !realpath(where, folder)) return;
    folder_length = strlen(folder);
    part = getenv("FAULTS_PATH");
    if (getenv("FAULTS_KINDS")) kinds = getenv("FAULTS_KINDS");
    if (getenv("FAULTS_AT")) at = strtoul(getenv("FAULTS_AT"), NULL, 10);
    error_number = getenv("FAULTS_ERROR") ? atoi(getenv("FAULTS_ERROR")) : EIO;
    stays = getenv("FAULTS_ON") != NULL;
    report = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void tell(const char *word, const char *rest) {
    char line[PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%s %s\n", word, rest);
    if (report >= 0) (void)!syscall(SYS_write, report, line, length);
}

__attribute__((destructor)) static void end(void) {
    char number[32];
    snprintf(number, sizeof number, "%lu", calls);
    tell("calls", number);
}

static int is_inside(const char *path) {
    return report >= 0 && strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0) &&
           (!part || strstr(path + folder_length, part));
}

static int path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_inside(path);
}

static void absolute(int where, const char *path, char *out) {
    char base[PATH_MAX] = "", link[64];
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    if (where == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", where);
        ssize_t length = readlink(link, base, sizeof base - 1);
        base[length > 0 ? length : 0] = 0;
    }
    snprintf(out, PATH_MAX, "%.2000s/%.2000s", base, path);
}

/* Counts a call of a kind; answers whether it is to fail. */
static int is_due(char kind, const char *path) {
    if (kind == 's')
        for (int i = 0; i < failures; i++)
            if (strcmp(failed[i], path) == 0) tell("again", path);
    if (!strchr(kinds, kind)) return 0;
    calls++;
    int due = at > 0 && (calls == at || (stays && calls > at));
    if (due) {
        char told[PATH_MAX + 8];
        snprintf(told, sizeof told, "%c %s", kind, path);
        tell("failed", told);
    }
    if (due && kind == 's' && failures < FAILED_SYNCS) snprintf(failed[failures++], PATH_MAX, "%s", path);
    return due;
}

static int file_fails(char kind, int file) {
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    int due = path_of(file, path) && is_due(kind, path);
    pthread_mutex_unlock(&lock);
    return due;
}

static int name_fails(int where, const char *path) {
    char whole[PATH_MAX];
    pthread_mutex_lock(&lock);
    absolute(where, path, whole);
    int due = is_inside(whole) && is_due('n', whole);
    pthread_mutex_unlock(&lock);
    return due;
}

static int fails(void) {
    errno = error_number;
    return -1;
}

static int opening(int where, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    struct stat data;
    absolute(where, path, whole);
    if ((flags & O_CREAT) && stat(whole, &data) != 0 && name_fails(where, path)) return fails();
    return (int)syscall(SYS_openat, where, path, flags, mode);
}

#define MODE                             \
    mode_t mode = 0;                     \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest;                    \
        va_start(rest, flags);           \
        mode = va_arg(rest, mode_t);     \
        va_end(rest);                    \
    }
int open(const char *path, int flags, ...) { MODE return opening(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opening(AT_FDCWD, path, flags, mode); }
int openat(int where, const char *path, int flags, ...) { MODE return opening(where, path, flags, mode); }
int openat64(int where, const char *path, int flags, ...) { MODE return opening(where, path, flags, mode); }

ssize_t pwrite64(int file, const void *data, size_t length, off_t offset) {
    if (file_fails('w', file)) {
        (void)!syscall(SYS_pwrite64, file, data, length / 2, offset);
        return fails();
    }
    return syscall(SYS_pwrite64, file, data, length, offset);
}
ssize_t pwrite(int file, const void *data, size_t length, off_t offset) { return pwrite64(file, data, length, offset); }

ssize_t write(int file, const void *data, size_t length) {
    if (file_fails('w', file)) {
        (void)!syscall(SYS_write, file, data, length / 2);
        return fails();
    }
    return syscall(SYS_write, file, data, length);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    return file_fails('w', file) ? fails() : syscall(SYS_pwritev, file, parts, count, offset, 0);
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off_t offset) { return pwritev(file, parts, count, offset); }
ssize_t writev(int file, const struct iovec *parts, int count) {
    return file_fails('w', file) ? fails() : syscall(SYS_writev, file, parts, count);
}

int fsync(int file) { return file_fails('s', file) ? fails() : (int)syscall(SYS_fsync, file); }
int fdatasync(int file) { return file_fails('s', file) ? fails() : (int)syscall(SYS_fdatasync, file); }
int ftruncate64(int file, off_t length) { return file_fails('t', file) ? fails() : (int)syscall(SYS_ftruncate, file, length); }
int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

int mkdir(const char *path, mode_t mode) {
    return name_fails(AT_FDCWD, path) ? fails() : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
int unlink(const char *path) { return name_fails(AT_FDCWD, path) ? fails() : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
int rmdir(const char *path) { return name_fails(AT_FDCWD, path) ? fails() : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int where, const char *path, int flags) {
    return name_fails(where, path) ? fails() : (int)syscall(SYS_unlinkat, where, path, flags);
}
int rename(const char *from, const char *to) {
    return name_fails(AT_FDCWD, from) ? fails() : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}
