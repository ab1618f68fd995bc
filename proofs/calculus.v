(** # Derivatives of finite sums

The one place where the book needs calculus beyond one variable at a time: a finite sum, and a
finite expectation, may be differentiated term by term. *)
From Coquelicot Require Export Coquelicot.
From MLCPC Require Export finite.
Open Scope R_scope.

Lemma sum_derive {A} (l : list A) (f f' : A -> R -> R) t :
  (forall a, In a l -> derivable_pt_lim (f a) t (f' a t)) ->
  derivable_pt_lim (fun t => sum l (fun a => f a t)) t (sum l (fun a => f' a t)).
Proof.
  induction l as [|a l IH]; intros H; simpl; [apply derivable_pt_lim_const|].
  apply (derivable_pt_lim_plus (f a) (fun t => sum l (fun a => f a t))).
  - apply H; left; reflexivity.
  - apply IH; intros b Hb; apply H; right; exact Hb.
Qed.

Lemma E_derive {A} (l : list A) w c (F F' : R -> list A -> R) t :
  (forall s, length s = c -> derivable_pt_lim (fun t => F t s) t (F' t s)) ->
  derivable_pt_lim (fun t => E l w c (F t)) t (E l w c (F' t)).
Proof.
  revert F F'; induction c as [|c IH]; intros F F' H; simpl; [apply H; reflexivity|].
  apply (sum_derive l (fun a t => w a * E l w c (fun s => F t (a :: s)))
                      (fun a t => w a * E l w c (fun s => F' t (a :: s)))).
  intros a _.
  apply (derivable_pt_lim_scal (fun t => E l w c (fun s => F t (a :: s)))).
  apply (IH (fun t s => F t (a :: s)) (fun t s => F' t (a :: s))).
  intros s Hs. apply H. simpl; lia.
Qed.

Lemma E_exp {A} (l : list A) w c S t :
  E l w c (fun s => exp (- t * sum s S)) = (sum l (fun b => w b * exp (- t * S b))) ^ c.
Proof.
  induction c as [|c IH]; simpl; [rewrite Rmult_0_r; apply exp_0|].
  rewrite <- IH, <- sum_scal_r. apply sum_ext; intros b _.
  rewrite Rmult_assoc. f_equal. rewrite <- E_scal. apply E_ext; intros s _.
  rewrite <- exp_plus. f_equal. ring.
Qed.

Lemma list_min {A} (l : list A) (f : A -> R) : (forall a, In a l -> 0 < f a) ->
  exists r, 0 < r /\ forall a, In a l -> r <= f a.
Proof.
  induction l as [|a l IH]; intros H; [exists 1; split; [lra|intros a []]|].
  destruct IH as [r [Hr Hl]]; [intros b Hb; apply H; right; exact Hb|].
  exists (Rmin r (f a)). split.
  - apply Rmin_pos; [exact Hr|apply H; left; reflexivity].
  - intros b [<-|Hb]; [apply Rmin_r|]. eapply Rle_trans; [apply Rmin_l|apply Hl, Hb].
Qed.

Lemma pow_exp a k : 0 < a -> a ^ k = exp (INR k * ln a).
Proof.
  intros Ha. induction k as [|k IH]; [simpl; rewrite Rmult_0_l, exp_0; reflexivity|].
  rewrite S_INR. simpl. rewrite IH. rewrite <- (exp_ln a Ha) at 1. rewrite <- exp_plus.
  f_equal. ring.
Qed.

