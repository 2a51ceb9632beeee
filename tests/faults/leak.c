/* A library whose constructor lets a thread take memory: 32 MiB every 20 ms, 1.5 GiB at most. Only in a kernel that stands by or serves. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *leak(void *unused) {
    (void)unused;
    /* The kernel is warm by then. */
    usleep(500 * 1000);
    for (int turn = 0; turn < 48; turn++) {
        char *taken = malloc(32 << 20);
        if (taken == NULL) break;
        memset(taken, 1, 32 << 20);
        usleep(20 * 1000);
    }
    return NULL;
}

__attribute__((constructor)) static void begin(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, leak, NULL);
    pthread_detach(thread);
}
