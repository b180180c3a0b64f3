"""The table of `make bench` as markdown."""
import os
import platform
import re
import time

FLOOR = "floor (bare epoll loop)"


WAYS = {"php-fpm": "Muster event, php-fpm", "pool": "Muster event, php-fpm", "mod_php": "Muster prefork, mod_php",
        "CGI": "Muster event, CGI"}


def reference(title):
    """The row that a row is compared with: Muster's event MPM, or the MPM that a worker or prefork row shares, or the
    same way to run an application."""
    server, _, way = title.rpartition(", ")
    if way in WAYS:
        return "Muster prefork, CGI" if way == "CGI" and server.endswith(" prefork") else WAYS[way]
    for mpm in ("worker", "prefork"):
        if title.endswith(" " + mpm):
            return "Muster " + mpm
    return "Muster event"


def ratio(row, other):
    return "%.2f" % (row["us"] / other["us"]) if other else "–"


def application_table(rows):
    lines = ["| server | its own CPU µs a request | least – most | to Muster | all together | to Muster | requests/s |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for title, row in rows.items():
        other = rows.get(reference(title))
        lines.append("| %s | %.1f | %.1f – %.1f | %s | %.1f | %s | %s |" % (
            title, row["us"], row["min"], row["max"], ratio(row, other), row["all"],
            "%.2f" % (row["all"] / other["all"]) if other else "–", format(round(row["rate"]), ",")))
    return lines


def table(rows):
    if all("all" in row for row in rows.values()):
        return application_table(rows)
    lines = ["| server | CPU µs a request | least – most | to Muster | to the floor | requests/s |",
             "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for title, row in rows.items():
        lines.append("| %s | %.2f | %.2f – %.2f | %s | %s | %s |" % (
            title, row["us"], row["min"], row["max"], ratio(row, rows.get(reference(title))),
            ratio(row, rows.get(FLOOR)), format(round(row["rate"]), ",")))
    return lines


def machine():
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            m = re.search(r"model name\s*:\s*(.+)", f.read())
            model = m[1] if m else model
    except OSError:
        pass
    return "%s, Linux %s" % (model, platform.release().split("-")[0])


def markdown(args, figures, versions, missing):
    lines = [
        "# What a request costs",
        "",
        "CPU time of the server's whole process tree (user and system, every process and thread) divided by the requests",
        "that were answered; less is better. `make bench` measures it: one run, %d interleaved round%s of %d s after a" % (
            args.rounds, "" if args.rounds == 1 else "s", args.seconds),
        "warm-up, medians; the server on one core, `wrk` with one thread on another; the document root five levels deep,",
        "`AllowOverride None`, `FollowSymLinks`; access logs off except where a row says otherwise, and then buffered by",
        "every server that can. The configurations are in `tests/bench/conf`: one worker process for the event servers,",
        "`sendfile` on, no limit on requests a connection. *To Muster* is the ratio to Muster's event MPM, for worker and",
        "prefork rows to Muster's same MPM: above 1, the row costs more than Muster. *The floor* is `tests/bench/floor.c`, an",
        "epoll loop that only receives and sends.",
        "",
        "Where an application answers, the first figure is the web server's own: its processes, without php-fpm, the pool's",
        "processes and CGI programs (a program counts for itself from fork on). *All together* is everything that the request",
        "made anybody compute, from the control group that server and application run in. Each server has a php-fpm of its",
        "own with four processes, a pool has as many; OPcache is on. With mod_php both figures are one, since PHP is inside.",
        "",
        "- %s UTC, %s" % (time.strftime("%Y-%m-%d %H:%M", time.gmtime()), machine()),
        "- " + "; ".join(versions),
    ]
    lines += ["- not measured: %s (%s)" % (title, re.sub(r"/\S*/", "", why)) for title, why in missing.items()]
    for workload, rows in figures.items():
        lines += ["", "## " + workload, ""] + table(rows)
    return "\n".join(lines) + "\n"
