/*
 * What the kernel alone takes for the same deliveries: one send() per socket, nothing else.
 *
 * benchmarks/floor.py accepts the clients and calls this. A socket that is full is waited for,
 * so that nothing is lost; the waiting costs no CPU time.
 */

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static const int PATIENCE_MS = 30000;

static int wait_until_writable(int socket)
{
    struct pollfd full = {.fd = socket, .events = POLLOUT};
    return poll(&full, 1, PATIENCE_MS) == 1;
}

static int send_whole(int socket, const char *frame, long length)
{
    while (length > 0) {
        ssize_t sent = send(socket, frame, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            frame += sent;
            length -= sent;
        } else if (errno != EAGAIN || !wait_until_writable(socket)) {
            return 0;
        }
    }
    return 1;
}

/* Send one frame to every socket; return how many got it. */
int blast(const int *sockets, int count, const char *frame, long length)
{
    int sent = 0;
    for (int each = 0; each < count; each++)
        sent += send_whole(sockets[each], frame, length);
    return sent;
}
