/* The least that a link in user space can do: read a frame from one tap, write it to the other. Used by benchmarks.cable. */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FRAMES_PER_TURN 16

static char frame[65536 + 28];

static int open_tap(const char *name, int offload)
{
    struct ifreq request;
    int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (descriptor < 0 || ioctl(descriptor, TUNSETIFF, &request) < 0 || ioctl(descriptor, TUNSETOFFLOAD, offload) < 0)
        exit(1);
    return descriptor;
}

int main(int count, char **words)
{
    int taps[2], poll = epoll_create1(0);

    if (count != 4)
        return 2;
    for (int end = 0; end < 2; end++) {
        struct epoll_event event = {EPOLLIN, {.u32 = end}};

        taps[end] = open_tap(words[1 + end], atoi(words[3]));
        epoll_ctl(poll, EPOLL_CTL_ADD, taps[end], &event);
    }
    if (write(1, "ready\n", 6) != 6)
        return 1;
    for (;;) {
        struct epoll_event events[2];
        int found = epoll_wait(poll, events, 2, -1);

        for (int one = 0; one < found; one++) {
            int from = events[one].data.u32;

            for (int number = 0; number < FRAMES_PER_TURN; number++) {
                ssize_t size = read(taps[from], frame, sizeof frame);

                if (size < 0)
                    break;
                if (write(taps[!from], frame, size) < 0)
                    continue;
            }
        }
    }
}
