/* The bytes on the channel between the supervisor and a child. */
#ifndef MU_SUPER_CHANNEL_H
#define MU_SUPER_CHANNEL_H

enum {
    MU_CHANNEL_READY = 'R',   /**< child: serving from now on */
    MU_CHANNEL_LEAVING = 'L', /**< child: takes no more connections */
    MU_CHANNEL_STOP =
        's', /**< supervisor: the first one asks for a graceful stop, the second for one at once */
    MU_CHANNEL_BYTES_MAX =
        8, /**< a child that writes more than that is not listened to any longer */
};

#endif
