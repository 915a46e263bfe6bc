"""The data plane: policies as nftables rules, in the kernel and kept there.

    policy.compiled ─► lower ─► Ruleset (ir) ─► diff ─► Transaction (operations) ─► plane ─► nfnetlink | nft ─► kernel
          │                        ▲    └─► simulate, render                           ▲          └─► NFLOG ─► droplog
          └─► live: what changed ──┴─► Patch ──────────────────────────────────────────┘

What the rooms are:
  making rules   lower, pieces, frame, chains, deny, tiers, fold, sets, members, identity, names, wording, settings
  live           the same for what changed only
  values         ir, operations, patch; diff and strictness compare them, simulate runs packets through them
  as text        render, commands (for the nft program), listing, heading, excerpt (for people)
  to the kernel  plane; programmer is the contract, backends chooses between nfnetlink (our own, on netlink) and nft (with readback)
  from it        droplog, droptally, nflog; conntrack
Only the last two do any I/O.
"""
