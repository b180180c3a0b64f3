/* hello_cgi: the least that a CGI program can do. Static, so that starting it is starting a program and nothing else. */
#include <unistd.h>

int main(void)
{
    static const char answer[] = "Content-Type: text/plain\n\nHello, World!\n";

    return write(1, answer, sizeof answer - 1) != sizeof answer - 1;
}
