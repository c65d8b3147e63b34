/* Nothing lost: the record, the lock and the host of one VIF, as vifplug's verbs change them. README.md explains it.
 *
 * The VIF has one of each: a link that is made, a row in Open vSwitch's database that is made, and a NIC whose MAC is
 * changed. Each `atomic` is one outward effect, before which the process may die. -DOFF=NO_... takes a rule away.
 */

#define NO_INTENT 1      /* write down what is begun before the first effect */
#define NO_LOCK 2        /* one process at a time on a VIF */
#define NO_SAME 3        /* an original goes back onto the same NIC only */
#define NO_OWN_VALUE 4   /* what vifplug sets itself is never an original */
#define NO_VOID 5        /* originals of an earlier boot are void */
#define NO_SECOND_LOOK 6 /* ... unless another process has recorded one of this boot meanwhile */
#define NO_FIRST 7       /* the first verb ends what was cut off, and after a reboot brings back what is recorded */
#define NO_RETRY 8       /* ... and the next one does, if that has failed or did not end */
#define NO_NAMESPACE 9   /* in another network namespace, nothing is touched */
#define NO_UPLINK 10     /* no bridge is made in the place of one that is lost */
#define NO_MARKS 11      /* everything that is made is marked: here the row */
#define NO_ASTRAY 12     /* a device that has another name by now is not made again */
#define NO_OWNER 13      /* the mark says whose a device is, and its name does not */
#define NO_HELD 14       /* what a guest has open stays */
#define NO_LAST_LOOK 15  /* ... and that is looked at right before the removal */
#define NO_LOST 16       /* a lost record is no empty one: the pools are closed */
#define NO_CHECKSUM 17   /* a damaged row is not used */
#define NO_UNKNOWN 18    /* an effect without an answer may have happened */
#define NO_DEFER 19      /* an interrupt waits until what was begun is done or undone */
#define NO_DEADLINE 20   /* the lock is not waited for for ever */
#define NO_RESERVE 21    /* a full disk does not stop an unplug */
#define NO_SAY 22        /* what could not be done is not skipped */

#ifndef OFF
#define OFF 0
#endif
byte off = OFF;
#define RULE(it) (off != it)

mtype:record = { none, plugging, updating, plugged, unplugging };
mtype:verb = { plug, unplug, recover, reconcile, gc, other };

#define FREE 0 /* of a link's name */
#define OURS 1 /* ... it has the mark of the VIF */
#define STRANGE 2

#define GUEST 2 /* the guest's MAC; 0 and 1 are those that NICs have by themselves */
#define NONSENSE 3
#define UNKNOWN 4 /* no original */

#define NOBODY 3

/* the record */
mtype:record rec = none;
byte original = UNKNOWN; /* the MAC that the NIC had; NONSENSE: the row is damaged */
bit original_of;         /* ... and which NIC it was */
bit recorded_boot, brought_back;
byte lost; /* 1: the database was lost; 2: and the one in its place was accepted */
byte lock = NOBODY;

/* the host */
bit boot;
byte link[2]; /* by name: the VIF's, and another one */
bit held;     /* by a living guest */
bit answered; /* whether the caller of a plug was told that the guest may start */
bit nic, own; /* which NIC is there, and the MAC that it has by itself */
byte mac;
bit row;
bit bridge = 1, leads_nowhere;

/* what may happen, each once, and FAULTS of the first four; `mishap` is one of many */
#ifndef FAULTS
#define FAULTS 4
#endif
bit crash = 1, reboot = 1, silence = 1, mishap = 1, stranger = 1, guest = 1;
byte faults = FAULTS;
byte frozen = NOBODY;
byte ended;

#define MARKED_LINK (link[0] == OURS || link[1] == OURS)
#define DAMAGED (original == NONSENSE)
#define NOW(event) event && faults -> event = 0; faults--
#define MISHAP me < 2 && NOW(mishap)

#define MARKED_ROW (row && RULE(NO_MARKS))
#define SOUND (rec != none && !(DAMAGED && RULE(NO_CHECKSUM)))
#define VALID (was != UNKNOWN && (was_of == nic || !RULE(NO_SAME)))

inline laws() {
    assert(!(link[0] == STRANGE && row) || lost || DAMAGED); /* a stranger has the VLAN */
    assert(!(link[0] == OURS && link[1] == OURS)); /* two devices with one MAC */
    assert(mac == own || mac == GUEST);            /* a NIC has a MAC of another one */
    assert(original != GUEST);                     /* what vifplug has set is taken for what was there before */
    assert(!leads_nowhere)                         /* the port is on a bridge without an uplink */
}

/* When all that was begun is ended, nothing is there without a record, and no record without its VIF; except what a
 * verb has named: a VIF whose record is lost or damaged, or whose name another device has. */
inline settled() {
    if
    :: frozen != NOBODY || DAMAGED || lost || link[0] == STRANGE || link[1] == OURS
    :: else ->
        assert(rec == none || rec == plugged);
        assert(rec == plugged || (link[0] == FREE && !row && mac == own));
        assert(rec == none || (link[0] == OURS && row && mac == GUEST))
    fi
}

/* Before an effect, inside its atomic: the process may be dead, die, or stop for ever. */
inline alive() {
    if
    :: boot != life -> goto dead
    :: boot == life && me < 2 && NOW(crash); goto dead
    :: boot == life && MISHAP; frozen = me; goto stopped
    :: boot == life
    fi
}

/* After an effect: its answer may be lost. */
#define ANSWER(unanswered) laws(); if :: me < 2 && NOW(silence); goto unanswered :: true fi

/* The VIF's lock, which the kernel releases when its process dies; `busy`: after some time. */
#define TAKE(busy) \
    alive(); \
    if \
    :: !RULE(NO_LOCK) \
    :: RULE(NO_LOCK) && lock == NOBODY -> lock = me \
    :: RULE(NO_LOCK) && lock != NOBODY && RULE(NO_DEADLINE) -> goto busy \
    fi

inline remove_link(n) {
    assert(!held);           /* a living guest's */
    assert(link[n] == OURS); /* a stranger's */
    link[n] = FREE
}

/* A process: what precedes its first change, and a verb; a new process for each of `rounds`. */
proctype vifplug(byte me; byte rounds) {
    bit life, was_of, sent_link, sent_mac, sent_row, by_marks, first, failed, elsewhere;
    byte had, was; /* the NIC's MAC now; its original, to be recorded */
    mtype:record former = none;
    mtype:verb task = unplug;

again:
    atomic {
        task = unplug; former = none; had = 0; was = 0; was_of = 0; sent_link = 0; sent_mac = 0; sent_row = 0;
        by_marks = 0; life = 0; failed = 0; first = 1; elsewhere = 0;
        if
        :: rounds == 0 -> goto finished
        :: rounds > 0 -> rounds--
        fi;
        life = boot;
        if
        :: !RULE(NO_NAMESPACE) && MISHAP; elsewhere = 1; first = 0; goto chosen /* where there are none of the links */
        :: true
        fi;
        if
        :: recorded_boot == boot -> goto same_boot
        :: recorded_boot != boot && !RULE(NO_VOID) -> goto voided
        :: recorded_boot != boot && RULE(NO_VOID)
        fi
    };
    atomic {
        TAKE(again);
        if
        :: recorded_boot == boot && RULE(NO_SECOND_LOOK) /* by another process, since it was looked at */
        :: else -> original = UNKNOWN
        fi;
        lock = NOBODY
    };
voided:
    atomic { alive(); recorded_boot = boot };
same_boot:
    if
    :: !RULE(NO_FIRST) && me < 2 -> brought_back = boot; goto begun
    :: !(!RULE(NO_FIRST) && me < 2) && rec != none && rec != plugged -> task = recover; goto chosen
    :: else
    fi;
recovered:
    if
    :: brought_back != boot || me == 2 -> task = reconcile; goto chosen
    :: else -> goto begun
    fi;
back:
    atomic {
        alive();
        if
        :: me == 2 -> settled()
        :: else
        fi;
        if
        :: RULE(NO_RETRY) && (failed || (rec != none && rec != plugged))
        :: else -> brought_back = boot
        fi
    };
begun:
    atomic {
        first = 0; failed = 0;
        if
        :: me < 2 -> task = plug
        :: task = unplug
        :: me < 2 || lost == 1 -> task = recover
        :: me < 2 -> task = reconcile
        :: !(me == 2 && (DAMAGED || lost == 1)) -> task = gc
        :: me < 2 -> task = other
        fi
    };

chosen:
    if
    :: task == gc && (rec != none || !(MARKED_LINK || MARKED_ROW)) -> goto next /* the first look, without the lock */
    :: task == gc && held && !RULE(NO_LAST_LOOK) -> goto next
    :: else
    fi;
    atomic {
        TAKE(busy);
        former = rec; by_marks = !SOUND; was = original; was_of = original_of; had = mac;
        if
        :: task == other -> /* another VIF asks for the NIC, which is this one's alone */
            if
            :: lost == 1 && RULE(NO_LOST) /* the pools are closed */
            :: else -> assert(rec != none || !held || lost == 2)
            fi;
            goto release
        :: task == recover ->
            if
            :: lost == 1 && !first && rec == none && link[0] == OURS && MARKED_ROW ->
                lost = 2; rec = plugged; goto release /* from its marks */
            :: lost == 1 && !first -> lost = 2 /* they do not tell all, and the VIF is named */
            :: else
            fi;
            if
            :: !SOUND -> goto release
            :: SOUND && rec == updating
            :: SOUND && (rec == plugging || rec == unplugging) -> goto removing
            :: SOUND && rec == plugged -> goto release
            fi
        :: task == reconcile && SOUND && rec == plugged
        :: task == plug && (SOUND || rec == none)
        :: task == unplug -> goto removing
        :: task == gc && rec == none && lost != 1 -> goto removing
        :: else -> goto release /* refused: it is not plugged, not finished, damaged */
        fi;
        if
        :: link[0] == STRANGE -> goto release
        :: link[0] != OURS && link[1] == OURS && RULE(NO_ASTRAY) -> goto release
        :: else
        fi;
        if
        :: bridge
        :: !bridge && RULE(NO_UPLINK) -> goto release
        :: !bridge && !RULE(NO_UPLINK) -> bridge = 1; leads_nowhere = 1; laws()
        fi;
        if
        :: VALID
        :: !VALID && mac == GUEST && RULE(NO_OWN_VALUE) -> goto release
        :: else -> was = mac; was_of = nic
        fi;
        if
        :: rec == plugged && link[0] == OURS && mac == GUEST && row -> goto release
        :: else
        fi;
        if
        :: MISHAP; failed = first; goto release /* the disk is full */
        :: true
        fi;
        if
        :: RULE(NO_INTENT) ->
            rec = (rec == none || rec == plugging -> plugging : updating);
            original = was; original_of = was_of;
            laws()
        :: else
        fi
    };
    /* plug */
    atomic {
        alive();
        if
        :: MISHAP; goto undo /* an interrupt */
        :: link[0] == FREE -> link[0] = OURS; sent_link = 1; ANSWER(no_answer_of_link)
        :: link[0] == STRANGE -> goto undo
        :: link[0] == OURS
        fi
    };
    atomic {
        alive();
        if
        :: RULE(NO_SAY) && RULE(NO_DEFER) && MISHAP; goto undo /* an interrupt, or the host refuses it */
        :: !RULE(NO_DEFER) && MISHAP; goto release
        :: !RULE(NO_SAY) && MISHAP
        :: mac != GUEST -> mac = GUEST; sent_mac = 1; ANSWER(no_answer_of_mac)
        :: mac == GUEST
        fi
    };
    atomic {
        alive();
        if
        :: row
        :: !row && bridge && link[0] == OURS -> row = 1; sent_row = 1; ANSWER(undo)
        :: !row && !(bridge && link[0] == OURS) -> goto undo
        fi
    };
    atomic {
        alive();
        if
        :: MISHAP; goto undo /* the disk is full */
        :: true ->
            rec = plugged; original = was; original_of = was_of; answered = 1;
            assert(link[0] == OURS && mac == GUEST && row); /* it is what is said */
            laws()
        fi;
        goto release
    };

no_answer_of_link:
    sent_link = RULE(NO_UNKNOWN);
    goto undo;
no_answer_of_mac:
    sent_mac = RULE(NO_UNKNOWN);
undo:
    atomic { failed = first; was = 0; was_of = 0; by_marks = 0 };
    if
    :: sent_row -> atomic { alive(); row = 0 }
    :: else
    fi;
    if
    :: sent_mac -> atomic { alive(); mac = had; laws() }
    :: else
    fi;
    if
    :: sent_link && link[0] == OURS -> atomic { alive(); remove_link(0) }
    :: else
    fi;
    atomic {
        alive();
        rec = former;
        if
        :: former == none -> original = UNKNOWN
        :: else
        fi;
        goto release
    };

removing:
    atomic {
        alive();
        had = 0;
        if
        :: held && MARKED_LINK && RULE(NO_HELD) && (task != gc || RULE(NO_LAST_LOOK)) -> goto release
        :: else
        fi;
        if
        :: by_marks && MARKED_LINK -> was = own; was_of = nic /* a NIC says it itself */
        :: by_marks && !MARKED_LINK -> was = UNKNOWN
        :: !by_marks
        fi;
        if
        :: !by_marks && MISHAP; assert(RULE(NO_RESERVE)) /* the disk is full */
        :: !by_marks -> rec = unplugging
        :: by_marks
        fi;
        answered = 0
    };
    if
    :: row && (!by_marks || MARKED_ROW) -> atomic { alive(); row = 0 }
    :: else
    fi;
    if
    :: (link[0] == OURS || (link[0] == STRANGE && !RULE(NO_OWNER))) && !elsewhere -> atomic { alive(); remove_link(0) }
    :: link[1] == OURS && !elsewhere -> atomic { alive(); remove_link(1) }
    :: else
    fi;
    atomic {
        if
        :: by_marks && boot == life /* a kill here is not survived: README.md */
        :: else -> alive()
        fi;
        if
        :: mac == GUEST && VALID && !elsewhere -> mac = was; laws()
        :: else
        fi
    };
    atomic { alive(); rec = none; original = UNKNOWN; goto release };

release:
    atomic {
        if
        :: boot != life -> goto dead
        :: else
        fi;
        lock = NOBODY;
        assert(rec == none || rec == plugged || rec == former); /* nothing stays begun */
        goto next
    };
busy:
    failed = first;
next:
    atomic {
        former = none; had = 0; was = 0; was_of = 0; sent_link = 0; sent_mac = 0; sent_row = 0; by_marks = 0;
        if
        :: first && task == recover -> goto recovered
        :: first && task == reconcile -> goto back
        :: else -> goto again
        fi
    };
dead:
    atomic {
        if
        :: lock == me -> lock = NOBODY
        :: else
        fi;
        goto again
    };
stopped:
    ended++;
end_stopped:
    false;
finished:
    ended++
}

/* What others do. None of them is at work on a VIF while a verb is, except a reboot. */
proctype world() {
end_world:
    do
    :: atomic { NOW(reboot); /* a NIC may have another one's name, or a MAC of its own that is another one now */
        boot = 1; lock = NOBODY; frozen = NOBODY; link[0] = FREE; link[1] = FREE; held = 0;
        if
        :: true
        :: nic = 1; own = 1
        :: own = 1
        fi;
        mac = own }
    :: atomic { stranger && link[0] == FREE && link[1] == FREE && brought_back == boot && lock == NOBODY ->
        stranger = 0; link[0] = STRANGE; laws() }
    :: atomic { guest && answered && link[0] == OURS && lock == NOBODY -> guest = 0; held = 1 }
    :: atomic { held && lock == NOBODY -> held = 0 }
    :: atomic { lock == NOBODY && rec == plugged && NOW(mishap);
        if
        :: rec = none; original = UNKNOWN; lost = 1        /* the database is lost, or an older one there */
        :: original = NONSENSE                             /* it is damaged */
        :: link[0] == OURS -> link[0] = FREE; link[1] = OURS /* the link gets another name */
        :: row = 0; bridge = 0                             /* Open vSwitch's database is lost */
        :: nic = 1; own = 1; mac = 1                       /* the NIC is replaced */
        fi }
    od
}

init {
#ifdef FROM_ENVIRONMENT
    c_code { now.off = atoi(getenv("OFF")); };
#endif
    atomic {
        if
        :: true
        :: rec = plugged; original = 0; link[0] = OURS; mac = GUEST; row = 1; answered = 1
        fi;
        run vifplug(0, 1); run vifplug(1, 1); run world()
    };
    atomic {
        ended == 2; /* now all is well again, and a last process comes */
        faults = 0; stranger = 0; guest = 0; held = 0; bridge = 1;
        run vifplug(2, 2)
    };
    atomic {
        ended == 3;
        assert(frozen != NOBODY || rec != none || !(MARKED_LINK || row))
    }
}
