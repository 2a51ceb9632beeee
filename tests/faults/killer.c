/* Kills the process at one point of an upgrade's journal. Preloaded (LD_PRELOAD) into the steward.
 *
 * KILLER_AT is `STATE:before`, just before the line of that state is written to a file named `journal`; `STATE:torn`, when half of it is
 * written; `STATE:after`, once it is synced, before anything is done about it; or `removal`, before a file under `/claimed/` is removed,
 * when its result stands.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char state[128];
static const char *moment = "";
static int is_written;

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("KILLER_AT");
    if (!at) return;
    const char *colon = strchr(at, ':');
    if (!colon) {
        moment = at;
        return;
    }
    snprintf(state, sizeof state, "\"state\":\"%.*s\"", (int)(colon - at), at);
    moment = colon + 1;
}

static void die(void) { kill(getpid(), SIGKILL); }

static int is_journal(int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 8 && memcmp(path + length - 8, "/journal", 8) == 0;
}

ssize_t pwrite64(int file, const void *data, size_t length, off_t offset) {
    if (state[0] && is_journal(file) && memmem(data, length, state, strlen(state))) {
        if (strcmp(moment, "before") == 0) die();
        if (strcmp(moment, "torn") == 0) {
            (void)!syscall(SYS_pwrite64, file, data, length / 2, offset);
            die();
        }
        is_written = 1;
    }
    return syscall(SYS_pwrite64, file, data, length, offset);
}
ssize_t pwrite(int file, const void *data, size_t length, off_t offset) { return pwrite64(file, data, length, offset); }

int fdatasync(int file) {
    int result = (int)syscall(SYS_fdatasync, file);
    if (is_written && strcmp(moment, "after") == 0 && is_journal(file)) die();
    return result;
}

int unlink(const char *path) {
    if (strcmp(moment, "removal") == 0 && strstr(path, "/claimed/")) die();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
