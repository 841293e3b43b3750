import sys; d=open(sys.argv[1],"rb").read(); open(sys.argv[2],"w").write(",".join(map(str,d)))
