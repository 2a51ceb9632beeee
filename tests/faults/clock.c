/* Puts the clock of the steward forth or back while it runs. Preloaded (LD_PRELOAD). CLOCK_FILE names a file whose text is the number of
 * seconds that its wall clock is ahead; without a number, it is right. Other programs, and other clocks, are left alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *file;

__attribute__((constructor)) static void begin(void) {
    if (strcmp(program_invocation_short_name, "steward") != 0) return;
    file = getenv("CLOCK_FILE");
    unsetenv("LD_PRELOAD");
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (!file || clock != CLOCK_REALTIME || result != 0) return result;
    char text[32] = "";
    int opened = open(file, O_RDONLY | O_CLOEXEC);
    if (opened >= 0) {
        ssize_t length = read(opened, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        close(opened);
    }
    time->tv_sec += atol(text);
    return 0;
}
